"""The Celery program: when and how often work is done, never what the work is."""
