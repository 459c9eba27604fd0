"""CSV packages for apps: what one grant shows, in the files of OneRoster 1.1 or 1.2, whole or as changes.

``layout`` says which files there are and what they are read from; ``cells`` and ``nested`` make rows of records, in
columns; ``personas`` are the users of 1.1; ``archive`` writes the zip while it grows; ``package`` puts them together.
``changes`` finds what a delta holds. ``jobs`` makes packages in the worker and ``targets`` takes them where a schedule
says.
"""
