"""Which addresses a stranger's URL may lead to: public ones, or any."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_UNICAST = IPv6Network("2000::/3")  # all that is assigned for the internet
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


def is_public(address: str) -> bool:
    """Tell whether an address, as a socket would connect to it, is on the open internet.

    Not public are loopback, private, link-local, shared, reserved, multicast and unspecified addresses, also
    where IPv6 wraps them (mapped, 6to4, NAT64), and whatever is no address.
    """
    try:
        plain = _unwrapped(ip_address(address))
    except ValueError:
        return False
    if not plain.is_global or plain.is_multicast or plain.is_reserved:
        return False
    return isinstance(plain, IPv4Address) or plain in _UNICAST


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
