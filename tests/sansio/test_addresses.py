"""Which addresses are on the open internet."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio.downloads import is_public

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
