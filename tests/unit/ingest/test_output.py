"""What the command line prints of a report."""

from ingest.commands.output import show


def test_a_person_reads_words_and_nothing_of_what_is_not_there(capsys):
    show({"file": "a.csv", "job_id": None, "left out": ("x", "y"), "note": "", "weights": {"text": 0.1}}, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["file", "a.csv"], ["left", "out", "x,", "y"], ["note", "-"], ["weights", "text", "0.1"]]


def test_a_machine_reads_every_value(capsys):
    show({"job_id": None, "note": ""}, as_json=True)
    assert capsys.readouterr().out == '{"job_id":null,"note":""}\n'
