"""Planted bugs: real, tiny training runs that each have one disease, and healthy ones beside them.

python -m tests.gallery              the table for the guide, as Markdown
python -m tests.gallery --run 3      trains every run with 3 seeds, and prints what fired when
"""
