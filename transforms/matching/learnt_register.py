"""Weights that were learnt. Written by ``make weights``; never by hand, but for one line.

Registers do not tell a last name that is spelt alike from a slip: both levels have the weights of the slip.
"""

VERSION = "1"
LEARNT: dict[str, tuple[tuple[float, float], ...]] = {
    "first name": (
        (0.648, 0.00395),  # equal
        (0.00198, 0.000887),  # nickname
        (0.00198, 0.0002),  # other's middle or preferred name
        (0.00198, 0.0002),  # first and middle name swapped
        (0.00198, 0.0002),  # part of a double name
        (0.00198, 0.0002),  # initial
        (0.132, 0.000754),  # spelling
        (0.00198, 0.000601),  # another name that is spelt alike
        (0.0884, 0.00053),  # swapped with last name
        (0.12, 0.993),  # different
    ),
    "middle name": (
        (0.67, 0.00213),  # equal
        (0.33, 0.03),  # initial
        (0.00983, 0.000371),  # spelling
        (0.00983, 0.995),  # different
    ),
    "last name": (
        (0.596, 0.00349),  # equal
        (0.00199, 2e-05),  # tokens in another order
        (0.00199, 2e-05),  # part of a double name
        (0.00199, 2e-05),  # one token in common
        (0.217, 0.00064),  # spelling
        (0.217, 0.00064),  # another name that is spelt alike
        (0.0885, 0.000525),  # swapped with first name
        (0.0926, 0.995),  # different
    ),
    "suffix": (
        (0.98, 0.5),  # equal
        (0.02, 0.5),  # different
    ),
    "birth date": (
        (0.923, 3.35e-05),  # equal
        (0.00199, 2e-05),  # day and month swapped
        (0.0107, 0.000987),  # slip
        (0.00199, 0.00288),  # two parts equal
        (0.0628, 0.996),  # different
    ),
    "sex": (
        (0.995, 0.501),  # equal
        (0.00498, 0.499),  # different
    ),
    "e-mail": (
        (0.8, 1e-05),  # equal
        (0.05, 0.0002),  # same name at another domain
        (0.15, 1.0),  # different
    ),
    "phone": (
        (0.6, 1e-05),  # equal
        (0.4, 1.0),  # different
    ),
    "user name": (
        (0.5, 1e-05),  # equal
        (0.5, 1.0),  # different
    ),
    "home": (
        (0.101, 1e-06),  # equal
        (0.464, 1e-06),  # alike
        (0.288, 1e-06),  # words in common
        (0.106, 0.000987),  # same postcode
        (0.0406, 0.999),  # different
    ),
    "guardian": (
        (0.9, 1e-05),  # in common
        (0.1, 1.0),  # different
    ),
    "identifier": (
        (0.879, 2.5e-07),  # equal
        (0.0701, 6.76e-06),  # alike
        (0.0504, 1.0),  # different
    ),
    "school": (
        (0.133, 0.00769),  # in common
        (0.867, 0.992),  # different
    ),
    "time": (
        (0.579, 0.0258),  # hand-over
        (0.0337, 0.167),  # at the same time in one source
        (0.184, 0.734),  # at two schools at the same time
        (0.203, 0.0736),  # apart
    ),
    "grade": (
        (0.99, 0.333),  # fits
        (0.00991, 0.667),  # does not fit
    ),
    "role": (
        (0.99, 0.8),  # equal
        (0.01, 0.2),  # different
    ),
}
