"""What an answer means to a download: redirects, ranges, kinds of content."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import APIConnectionError, ResponseTooLargeError
from futureagi_async._sansio.downloads import (
    BodyInfo,
    PartialFile,
    check_size,
    is_public,
    read_head,
    redirect_target,
    request_headers,
)

PART = PartialFile(5, '"v1"')


def test_what_is_asked_for() -> None:
    """A part is gone on with only if the file is the same; nothing may be compressed on the way."""
    assert request_headers(None) == {"Accept-Encoding": "identity"}
    assert request_headers(PART)["Range"] == "bytes=5-"
    assert request_headers(PART)["If-Range"] == '"v1"'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_lead_on(status: int) -> None:
    """Absolute and relative targets are joined to where they were found."""
    start = "https://a.example/x/y?q=1"
    for location, target in {
        "https://b.example/z?sig=%2F": "https://b.example/z?sig=%2F",
        "/z": "https://a.example/z",
        "z": "https://a.example/x/z",
        "//b.example/z": "https://b.example/z",
    }.items():
        assert redirect_target(start, status, {"Location": location}) == target
    assert redirect_target("http://a.example/", status, {"Location": "https://a.example/"})


@pytest.mark.parametrize("status", [200, 206, 300, 304, 404, 416])
def test_other_answers_lead_nowhere(status: int) -> None:
    """Only the five redirects are followed."""
    assert redirect_target("https://a.example/", status, {"Location": "/z"}) is None


WRONG = ["", "http://a.example/", "ftp://a.example/", "javascript:1", "https://u:p@a.example/", "https://[x/"]


@pytest.mark.parametrize("location", WRONG)
def test_redirects_that_are_refused(location: str) -> None:
    """Nowhere, off TLS, to other schemes, with passwords: none is followed."""
    with pytest.raises(APIConnectionError):
        redirect_target("https://a.example/", 302, {"Location": location})


KINDS = {
    ("audio/mpeg", "/a"): ".mp3",
    ("Audio/WAV; rate=8000", "/a.mp3"): ".wav",
    ("audio/ogg", "/a"): ".ogg",
    ("application/octet-stream", "/a/b.WAV"): ".wav",
    ("binary/octet-stream", "/a.exe"): ".audio",
    ("audio/x-unheard-of", "/.mp3"): ".mp3",
    ("", "/a.m4a"): ".m4a",
    ("", "/a.b/c"): ".audio",
}


@pytest.mark.parametrize(("kind", "path"), KINDS)
def test_the_ending_is_one_of_a_few(kind: str, path: str) -> None:
    """It comes from the content's kind, else from the address if that has a known one."""
    head = read_head(200, {"Content-Type": kind} if kind else {}, None, path)
    assert head is not None
    assert head.ending == KINDS[kind, path]


def test_a_whole_file_and_a_rest() -> None:
    """Where a body begins, and how large the file is, follow from status and headers."""
    whole = {"Content-Length": "10", "ETag": '"v2"'}
    assert read_head(200, whole, None, "/a.mp3") == BodyInfo(0, 10, '"v2"', ".mp3")
    assert read_head(200, whole, PART, "/a.mp3") == BodyInfo(0, 10, '"v2"', ".mp3")
    rest = {"Content-Range": "bytes 5-9/10", "Content-Length": "5", "ETag": '"v1"'}
    assert read_head(206, rest, PART, "/a.mp3") == BodyInfo(5, 10, '"v1"', ".mp3")
    assert read_head(206, {"Content-Range": "bytes 5-9/*"}, PART, "/a.mp3") == BodyInfo(
        5, None, '"v1"', ".mp3"
    )
    assert read_head(200, {"Content-Length": "-1", "ETag": 'W/"v"'}, None, "/a") == BodyInfo(
        0, None, None, ".audio"
    )


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 404, 416, 500])
def test_other_answers_are_errors(status: int) -> None:
    """Whatever is not the file is an error with its status, and says whether another try may help."""
    with pytest.raises(APIConnectionError, match=f"answered {status}") as caught:
        read_head(status, {}, None, "/")
    assert caught.value.retryable == (status == 500)


def test_the_limit_is_the_last_size_that_fits() -> None:
    """A file of just the limit is taken, one byte more is not."""
    check_size(10, 10)
    with pytest.raises(ResponseTooLargeError, match="larger than 10 bytes"):
        check_size(11, 10)


PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
PRIVATE = (
    "127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 "
    "0.0.0.0 0.1.2.3 192.0.2.1 198.18.0.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 "
    ":: ::1 fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd12::1 ff02::1 ff0e::1 2001:db8::1 2001::1 100::1 4000::1 "
    "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe "
    "64:ff9b:1::808:808 2002:7f00:1::1 2002:a00:1::1 localhost 127.1 2130706433 0x7f.1 example.com [::1]"
).split()


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """What is assigned on the internet is public, also wrapped into IPv6."""
    assert is_public(address)


@pytest.mark.parametrize("address", ["", *PRIVATE])
def test_all_others(address: str) -> None:
    """Loopback, private, link-local, shared, reserved, multicast, however wrapped, and names are not."""
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_wrapping_changes_nothing(address: IPv4Address) -> None:
    """An IPv4 address is judged the same as itself, mapped, through 6to4 and through NAT64."""
    number = int(address)
    mapped = IPv6Address((0xFFFF << 32) | number)
    nat64 = IPv6Address((0x64FF9B << 96) | number)
    sixtofour = IPv6Address((0x2002 << 112) | (number << 80))
    assert {is_public(str(one)) for one in (mapped, nat64, sixtofour)} == {is_public(str(address))}


@given(st.ip_addresses())
def test_nothing_private_is_public(address: IPv4Address | IPv6Address) -> None:
    """Whatever the standard library calls private, loopback, link-local or multicast is refused."""
    plain = ip_address(str(address))
    if plain.is_loopback or plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        assert not is_public(str(address))
