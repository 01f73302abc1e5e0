"""The bias report: what moves a judge but should not, and what it fails to notice. Start with
`changes.py`."""
