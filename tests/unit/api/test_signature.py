"""RFC 5849 against its own examples, and against oauthlib."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth1 import SIGNATURE_TYPE_BODY, SIGNATURE_TYPE_QUERY, Client
from yarl import URL

from hub.api.oauth import signature
from hub.api.oauth.signature import MalformedError, Signed, form_pairs

#: oauthlib takes a semicolon at the end of a path for an empty parameter, and does not sign it.
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n;"), max_size=12)


def read(header: str) -> Signed:
    """The parameters of a header, which has some."""
    signed = signature.read(header)
    assert signed is not None
    return signed


def test_the_base_string_is_that_of_the_rfc() -> None:
    """The request of §3.4.1.1; its token is empty here."""
    signed = read(
        'realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="", oauth_signature_method="HMAC-SHA1", '
        'oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"'
    )
    base = signature.base_string(
        signed, "post", "http://example.com/request", form_pairs(b"b5=%3D%253D&a3=a&c%40=&a2=r%20b"),
        form_pairs(b"c2&a3=2+q"),
    )  # fmt: skip

    assert base == (
        b"POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D"
        b"%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1"
        b"%26oauth_timestamp%3D137131201%26oauth_token%3D"
    )


def test_the_signature_is_that_of_the_rfc() -> None:
    """The first request of §1.2."""
    signed = read(
        'realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_signature_method="HMAC-SHA1", '
        'oauth_timestamp="137131200", oauth_nonce="wIjqoS", oauth_callback="http%3A%2F%2Fprinter.example.com%2Fready", '
        'oauth_signature="74KNZJeDHnMBp0EMJ9ZHt%2FXKycU%3D"'
    )
    base = signature.base_string(signed, "POST", "https://photos.example.net/initiate")

    assert signature.matches(signed, base, "kd94hf93k423kf44")
    assert not signature.matches(signed, base, "kd94hf93k423kf45")


@given(
    query=st.lists(st.tuples(_texts, _texts), max_size=4), path=_texts, secret=_texts.filter(bool),
    method=st.sampled_from(["HMAC-SHA1", "HMAC-SHA256"]),
)  # fmt: skip
def test_what_oauthlib_signs_matches(query: list[tuple[str, str]], path: str, secret: str, method: str) -> None:
    kept = [(name, value) for name, value in query if name and not name.startswith("oauth_")]
    url = (URL("https://Hub.example:443") / f"x{path.replace('.', '')}").with_query(kept)
    header = Client("key", client_secret=secret, signature_method=method).sign(str(url))[1]["Authorization"]
    signed = read(header.removeprefix("OAuth "))
    address = signature.without_default_port("https://Hub.example:443") + url.raw_path

    pairs = form_pairs(url.raw_query_string.encode())
    assert signature.matches(signed, signature.base_string(signed, "GET", address, pairs), secret)


@given(
    query=st.lists(st.tuples(_texts, _texts), max_size=3), form=st.lists(st.tuples(_texts, _texts), max_size=3),
    secret=_texts.filter(bool), place=st.sampled_from([SIGNATURE_TYPE_QUERY, SIGNATURE_TYPE_BODY]),
)  # fmt: skip
def test_what_oauthlib_signs_in_the_query_or_a_form_matches(
    query: list[tuple[str, str]], form: list[tuple[str, str]], secret: str, place: str
) -> None:
    kept, posted = ([(n, v) for n, v in pairs if n and not n.startswith("oauth_")] for pairs in (query, form))
    url = URL("https://hub.example/x").with_query(kept)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    signer = Client("key", client_secret=secret, signature_type=place)
    uri, _, body = signer.sign(str(url), "POST", urlencode(posted), kind)
    pairs = form_pairs(uri.partition("?")[2].encode())
    found = form_pairs((body or "").encode())
    signed = signature.read(None, pairs, found)
    assert signed is not None

    base = signature.base_string(signed, "POST", "https://hub.example/x", pairs, found)
    assert signature.matches(signed, base, secret)
    assert not signature.matches(signed, base + b"x", secret)


def test_parameters_stand_in_one_place_and_once() -> None:
    good = ('oauth_consumer_key="k", oauth_signature_method="HMAC-SHA1", oauth_timestamp="1", oauth_nonce="n", '
            'oauth_signature="s"')  # fmt: skip
    form = form_pairs(good.replace('"', "").replace(", ", "&").encode())
    assert signature.read(None, [(b"limit", b"1")], [(b"realm", b"x")]) is None
    for header, query, body, places in (
        (good, form, [], "the Authorization header and in the query"),
        (good, [], [(b"oauth_token", b"")], "the Authorization header and in the form in the body"),
        (None, form, form, "the query and in the form in the body"),
        ("", form[:1], form[:1], "the Authorization header and in the query and in the form in the body"),
    ):
        with pytest.raises(MalformedError, match=f"OAuth's parameters stand in {places}"):
            signature.read(header, query, body)
    for twice in (form[0], (b"oauth_token", b"")):
        for query, body in (([*form, twice, twice], []), ([], [*form, twice, twice])):
            with pytest.raises(MalformedError, match="is given twice"):
                signature.read(None, query, body)
    found = signature.read(None, [(b"limit", b"1"), (b"limit", b"2"), *form], [])
    assert found is not None
    assert (found.consumer_key, found.parameters) == ("k", ())


def test_a_form_has_so_many_pairs() -> None:
    assert len(form_pairs(b"a&" * 99 + b"a")) == 100
    with pytest.raises(MalformedError, match="100 parameters"):
        form_pairs(b"a&" * 100)


@given(st.text(max_size=80) | st.from_regex(r'(oauth_[a-z]{1,8}="[^"]{0,9}",? ?){1,6}', fullmatch=True))
def test_no_header_is_more_than_malformed(header: str) -> None:
    with pytest.raises(MalformedError):
        read(header)


def test_ports_that_go_without_saying_are_not_signed() -> None:
    for url, signed in (
        ("HTTPS://Hub.Example:443/Base", "https://hub.example/Base"), ("http://h:80", "http://h"),
        ("http://h:443", "http://h:443"), ("http://[::1]:8080", "http://[::1]:8080"), ("https://[::1]", "https://[::1]"),
    ):  # fmt: skip
        assert signature.without_default_port(url) == signed
