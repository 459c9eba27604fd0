"""Weights that were learnt. Written by ``make weights``; never by hand."""

VERSION = "3"
LEARNT: dict[str, tuple[tuple[float, float], ...]] = {
    "first name": (
        (0.893, 0.00228),  # equal
        (0.0141, 0.000452),  # nickname
        (0.00198, 0.00311),  # other's middle or preferred name
        (0.0254, 0.0002),  # first and middle name swapped
        (0.00198, 0.0002),  # part of a double name
        (0.002, 0.002),  # initial
        (0.0551, 0.0002),  # spelling
        (0.00198, 0.000348),  # another name that is spelt alike
        (0.00198, 0.0002),  # swapped with last name
        (0.008, 0.994),  # different
    ),
    "middle name": (
        (0.669, 0.00213),  # equal
        (0.33, 0.03),  # initial
        (0.00982, 0.000371),  # spelling
        (0.00982, 0.995),  # different
    ),
    "last name": (
        (0.887, 0.00273),  # equal
        (0.00974, 2e-05),  # tokens in another order
        (0.0231, 0.000805),  # part of a double name
        (0.00199, 0.000707),  # one token in common
        (0.0553, 0.0002),  # spelling
        (0.00199, 0.000361),  # another name that is spelt alike
        (0.00199, 5.52e-05),  # swapped with first name
        (0.0188, 0.995),  # different
    ),
    "suffix": (
        (0.98, 0.5),  # equal
        (0.02, 0.5),  # different
    ),
    "birth date": (
        (0.968, 0.000237),  # equal
        (0.00403, 7.12e-05),  # day and month swapped
        (0.0232, 0.00534),  # slip
        (0.00295, 0.00637),  # two parts equal
        (0.008, 0.988),  # different
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
        (0.552, 1e-05),  # equal
        (0.00199, 1e-05),  # alike
        (0.02, 0.002),  # words in common
        (0.0109, 0.00999),  # same postcode
        (0.433, 0.99),  # different
    ),
    "guardian": (
        (0.9, 1e-05),  # in common
        (0.1, 1.0),  # different
    ),
    "identifier": (
        (0.984, 5.06e-07),  # equal
        (0.0099, 5.06e-07),  # alike
        (0.00578, 1.0),  # different
    ),
    "school": (
        (0.133, 0.00769),  # in common
        (0.867, 0.992),  # different
    ),
    "time": (
        (0.576, 0.0258),  # hand-over
        (0.0343, 0.167),  # at the same time in one source
        (0.187, 0.734),  # at two schools at the same time
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
    "first name with nicknames": (
        (0.857, 0.00228),  # equal
        (0.0438, 0.000452),  # nickname
        (0.00198, 0.00311),  # other's middle or preferred name
        (0.0369, 0.0002),  # first and middle name swapped
        (0.00198, 0.0002),  # part of a double name
        (0.002, 0.002),  # initial
        (0.0503, 0.0002),  # spelling
        (0.00198, 0.000348),  # another name that is spelt alike
        (0.00198, 0.0002),  # swapped with last name
        (0.008, 0.994),  # different
    ),
    "last name of several parts": (
        (0.643, 0.00273),  # equal
        (0.0818, 2e-05),  # tokens in another order
        (0.204, 0.000805),  # part of a double name
        (0.00438, 0.000707),  # one token in common
        (0.0364, 0.0002),  # spelling
        (0.00199, 0.000361),  # another name that is spelt alike
        (0.00199, 5.52e-05),  # swapped with first name
        (0.0266, 0.995),  # different
    ),
}
