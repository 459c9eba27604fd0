"""OneRoster 1.1, made from the records and sets of 1.2.

Nothing of it is stored but which users an app was ever shown with several roles. Records are selected by the same code
as in 1.2; ``reading`` says where 1.1 sees other sets or values, and ``answers`` makes its objects.
"""
