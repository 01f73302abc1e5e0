"""The bias report: what moves a judge that should not, and what it fails to see. Begin with `changes.py`."""
