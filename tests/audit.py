"""Known vulnerabilities of what is installed: `make audit`. Needs a network; where there is none it says so and ends.

Stricter than pip-audit alone: a package that could not be looked up fails the audit, and a waiver ends on a date.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from typing import Any

# What is known, why it does not reach us, and until when that is believed.
WAIVED: dict[str, tuple[str, date]] = {
    "CVE-2026-4372": (
        "transformers < 5.3, export extra only; the exporter refuses the configs that it needs (docs/decisions/0003)",
        date(2027, 6, 30),
    ),
}


def main() -> int:
    """0 when clean or when nothing could be looked up, 1 when a known vulnerability is not waived."""
    found = _look_up()
    if found is None:
        print("not audited: the service of known vulnerabilities cannot be reached from here")
        return 1 if os.environ.get("AKIN_AUDIT") == "required" else 0
    skipped = [one["name"] for one in found if "skip_reason" in one]
    open_ = [(one["name"], one["version"], v["id"]) for one in found for v in one.get("vulns", []) if not _waived(v)]
    for name in skipped:
        print(f"{name} could not be looked up")
    for name, version, known in open_:
        print(f"{name} {version} has {known}")
    print(f"audited {len(found) - len(skipped)} packages: {len(open_)} known vulnerabilities that are not waived")
    return 1 if skipped or open_ else 0


def _look_up() -> list[dict[str, Any]] | None:
    frozen = [sys.executable, "-m", "pip", "freeze", "--exclude-editable", "--disable-pip-version-check"]
    installed = subprocess.run(frozen, check=True, capture_output=True, text=True).stdout
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(installed)
        file.flush()
        audit = [sys.executable, "-m", "pip_audit", "-r", file.name, "--no-deps", "--disable-pip", "-f", "json"]
        done = subprocess.run(
            [*audit, "--progress-spinner", "off", "--timeout", "5"], check=False, capture_output=True, text=True
        )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return found if any("skip_reason" not in one for one in found) else None


def _waived(vulnerability: dict[str, Any]) -> bool:
    names = {vulnerability["id"], *vulnerability.get("aliases", ())}
    return any(name in WAIVED and datetime.now(UTC).date() <= WAIVED[name][1] for name in names)


if __name__ == "__main__":
    sys.exit(main())
