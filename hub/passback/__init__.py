"""Grade pass-back: what apps write to the gradebook is taken to the district's system, where that takes grades.

``login``, ``codes``, ``schedule``, ``objects`` and ``answers`` are pure; ``proofs`` holds access tokens; ``rounds``
makes one round for one target and ``dispatcher`` finds targets. PostgreSQL remembers everything: a process may end at
any point, and whatever was sent but not noted is sent again. PUT and DELETE by ``sourcedId`` may be repeated.
"""
