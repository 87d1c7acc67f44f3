# SPDX-License-Identifier: LGPL-3.0-only
"""From an address to its provider: what is found, who says so, and what is not believed."""

import json
import sys
import time
from collections import Counter

import pytest
from corpus import AUTOCONFIG, BY_MX, DATABASE, FREE, HOSTED, SERVICES, UNKNOWN, WELL_KNOWN
from internet import HOST, Internet, config

from discovery import (
    SECONDS,
    MailServer,
    Network,
    NotAutoconfig,
    Preset,
    Refused,
    find,
    is_inside,
    network,
    read_autoconfig,
)
from discovery.find import ispdb
from discovery.providers import PROVIDERS

PATH = "/mail/config-v1.1.xml"
WELL_KNOWN_PATH = "/.well-known/autoconfig/mail/config-v1.1.xml"

#: as the addon's presets are: the key is the SMTP host here
PRESETS = [Preset(host, smtp_host=host, hosts={host}) for host in PROVIDERS]


@pytest.fixture(scope="module")
def started():
    with Internet() as world:
        yield world


@pytest.fixture
def internet(started):
    started.clear()
    return started


def way_into(internet, **values):
    return Network(**internet.way_in(**values))


def smtp_host(finding):
    found = finding.found
    if not found:
        return None
    return found.preset or found.servers.smtp.host


# --- who is believed -----------------------------------------------------------------------


def test_presets_need_no_network():
    finding = find("kim@ours.example", [Preset(7, domains={"ours.example"})])
    assert (finding.found.source, finding.found.preset) == ("domain", 7)
    assert finding.found.public
    assert find("kim@qq.com", PRESETS).found.preset == "smtp.qq.com"
    assert find("kim@unknown.example", PRESETS).found is None


@pytest.mark.parametrize(
    "address", ["", "kim", "kim@", "@", "kim@localhost", "kim@10.0.0.1", "a b"]
)
def test_what_is_no_address_is_asked_of_nobody(internet, address):
    assert find(address, PRESETS, way_into(internet)).found is None
    assert not internet.asked


def test_the_mail_exchangers(internet):
    internet.mx["d.com"] = [(5, "mxbiz1.qq.com"), (10, "mxbiz2.qq.com")]
    found = find("kim@d.com", PRESETS, way_into(internet)).found
    assert (found.source, found.where, found.preset) == ("mx", "d.com", "smtp.exmail.qq.com")
    assert not found.public


def test_thunderbirds_order(internet):
    """The domain's own file first, then the database, its exchangers, its services."""
    internet.srv["_submissions._tcp.d.com"] = (0, 465, "smtp.d.com")
    steps = [
        ("srv", lambda: None),
        ("mx", lambda: internet.mx.update({"d.com": [(5, "mxbiz1.qq.com")]})),
        ("ispdb", lambda: internet.site("autoconfig.thunderbird.net", "/v1.1/d.com", file)),
        ("well_known", lambda: internet.site("d.com", WELL_KNOWN_PATH, file)),
        ("autoconfig", lambda: internet.site("autoconfig.d.com", PATH, file)),
    ]
    file = config("smtp.d.com")
    for source, add in steps:
        add()
        assert find("kim@d.com", PRESETS, way_into(internet)).found.source == source


def test_a_configuration_file(internet):
    internet.site("autoconfig.d.com", PATH, config("smtp.d.com"))
    found = find("kim@d.com", PRESETS, way_into(internet)).found
    assert found.servers.smtp == MailServer("smtp.d.com", 465, "ssl", "address")
    assert found.servers.imap == MailServer("imap.d.com", 993, "ssl", "address")
    # one that names a preset's server is that preset
    internet.sites["autoconfig.d.com", PATH] = config("smtp.exmail.qq.com")
    assert find("kim@d.com", PRESETS, way_into(internet)).found.preset == "smtp.exmail.qq.com"


def test_a_page_for_everything_is_no_configuration(internet):
    internet.site("autoconfig.d.com", PATH, b"<!DOCTYPE html><html><body>Welcome<br></html>")
    internet.site("d.com", WELL_KNOWN_PATH, b"<html><body>Welcome</body></html>")
    internet.mx["d.com"] = [(5, "mx1.qiye.aliyun.com")]
    finding = find("kim@d.com", PRESETS, way_into(internet))
    assert finding.found.preset == "smtp.qiye.aliyun.com"
    assert not finding.refused


def test_services(internet):
    internet.srv.update(
        {
            "_submission._tcp.d.com": (0, 587, "mail.d.com"),
            "_imaps._tcp.d.com": (0, 993, "mail.d.com"),
            "_pop3s._tcp.d.com": (0, 0, "."),
        }
    )
    servers = find("kim@d.com", PRESETS, way_into(internet)).found.servers
    assert servers.smtp == MailServer("mail.d.com", 587, "starttls")
    assert servers.imap == MailServer("mail.d.com", 993, "ssl")
    assert servers.pop is None
    internet.srv["_submissions._tcp.d.com"] = (0, 465, "smtp.d.com")
    servers = find("kim@d.com", PRESETS, way_into(internet)).found.servers
    assert servers.smtp.encryption == "ssl", "RFC 8314 prefers it"


# --- the database --------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path):
    """A file as ``dev.commands.ispdb`` makes it, of the corpus."""
    providers = [
        {
            "name": domains[0],
            "domains": list(domains),
            "smtp": [host, 465, "ssl", "address", False],
            "imap": [host.replace("smtp", "imap"), 993, "ssl", "address", False],
        }
        for domains, host, _exchangers in DATABASE
    ]
    file = tmp_path / "ispdb.json"
    file.write_text(json.dumps({"notice": "", "providers": providers}))
    return file


def test_the_shipped_database_needs_no_network(database):
    found = find("kim@posteo-like.net", PRESETS, None, database).found
    assert (found.source, found.servers.smtp.host) == ("ispdb", "smtp.posteo-like.example")
    assert found.public


def test_what_takes_oauth_alone_is_the_preset_that_does(tmp_path):
    file = tmp_path / "ispdb.json"
    office = {
        "name": "Outlook",
        "domains": ["hotmail.example"],
        "smtp": ["smtp-mail.outlook.example", 587, "starttls", "address", True],
        "imap": ["outlook.office365.com", 993, "ssl", "address", True],
    }
    file.write_text(json.dumps({"notice": "", "providers": [office]}))
    preset = Preset(7, hosts={"smtp.office365.com", "outlook.office365.com"})
    assert find("kim@hotmail.example", [preset], None, file).found.preset == 7


def test_the_shipped_database_is_asked_alone(database, internet):
    find("kim@nobody.example", PRESETS, way_into(internet), database)
    assert "autoconfig.thunderbird.net" not in {name for name, _kind in internet.asked}


def test_the_database_on_the_network(internet, tmp_path):
    internet.site("autoconfig.thunderbird.net", "/v1.1/isp.example", config("smtp.isp.example"))
    internet.mx["d.com"] = [(10, "mx3.isp.example")]
    nowhere = tmp_path / "none.json"
    found = find("kim@isp.example", PRESETS, way_into(internet), nowhere).found
    assert (found.source, found.public) == ("ispdb", True)
    found = find("kim@d.com", PRESETS, way_into(internet), nowhere).found
    assert (found.source, found.public) == ("ispdb_mx", False)
    assert found.servers.smtp.host == "smtp.isp.example"


def test_the_file_is_made_of_configuration_files(tmp_path):
    from dev.commands.ispdb import read, write

    extra = "<domain>isp.example</domain><domain>ISP.test</domain>"
    (tmp_path / "isp.example.xml").write_bytes(config("smtp.isp.example", extra=extra))
    (tmp_path / "plain.xml").write_bytes(config("smtp.d.com", encryption="plain"))
    write(read(tmp_path), tmp_path / "made.json")
    known = ispdb.load(tmp_path / "made.json")
    assert set(known) == {"isp.example", "isp.test"}
    assert known["isp.test"].smtp == MailServer("smtp.isp.example", 465, "ssl", "address")
    assert "Mozilla Public License" in json.loads((tmp_path / "made.json").read_text())["notice"]


# --- what is not believed ------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"]
)
def test_a_name_that_leads_inside_is_not_connected_to(internet, address):
    internet.addresses["autoconfig.d.com"] = [address]
    finding = find("kim@d.com", PRESETS, way_into(internet))
    assert finding.found is None
    assert finding.refused == (Refused("autoconfig", "autoconfig.d.com", "inside"),)


def test_loopback_is_inside_for_users(internet):
    internet.site("autoconfig.d.com", PATH, config("smtp.d.com"))
    finding = find("kim@d.com", PRESETS, way_into(internet, loopback=False))
    assert finding.found is None
    assert Refused("autoconfig", "autoconfig.d.com", "inside") in finding.refused
    assert not internet.connections


def test_one_address_inside_among_several_is_enough(internet):
    internet.site("autoconfig.d.com", PATH, config("smtp.d.com"))
    internet.addresses["autoconfig.d.com"] = [HOST, "10.0.0.1"]
    assert find("kim@d.com", PRESETS, way_into(internet)).found is None
    assert not internet.connections


def test_a_name_that_means_something_else_a_moment_later(internet):
    """DNS rebinding: what was looked at is connected to."""
    internet.site("autoconfig.d.com", PATH, config("smtp.d.com"))
    internet.addresses["autoconfig.d.com"] = [[HOST], ["10.0.0.1"]]
    assert find("kim@d.com", PRESETS, way_into(internet)).found.source == "autoconfig"
    assert internet.asked.count(("autoconfig.d.com", "A")) == 1


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://autoconfig.d.com/other.xml", "insecure"),
        ("https://10.0.0.1/other.xml", "inside"),
        ("https://169.254.169.254/latest/meta-data/", "inside"),
        ("https://[::1]/other.xml", "inside"),
        ("https://[::ffff:10.0.0.1]/other.xml", "inside"),
        ("https://inner.d.com/other.xml", "inside"),
        ("https://autoconfig.d.com:8069/web", "insecure"),
        ("file:///etc/passwd", "insecure"),
        ("ftp://autoconfig.d.com/", "insecure"),
    ],
)
def test_a_redirect_that_leads_away(internet, location, why):
    internet.addresses["inner.d.com"] = ["192.168.0.7"]
    internet.site("autoconfig.d.com", PATH, (302, {"Location": location}, b""))
    finding = find("kim@d.com", PRESETS, way_into(internet))
    assert finding.found is None
    assert Refused("autoconfig", "autoconfig.d.com", why) in finding.refused
    assert internet.visits.count(("autoconfig.d.com", PATH)) == len(internet.visits)


def test_a_redirect_to_another_host_outside(internet):
    there = "https://config.provider.example/d.xml"
    internet.site("autoconfig.d.com", PATH, (301, {"Location": there}, b""))
    internet.site("config.provider.example", "/d.xml", config("smtp.provider.example"))
    found = find("kim@d.com", PRESETS, way_into(internet)).found
    assert found.servers.smtp.host == "smtp.provider.example"


def test_redirects_without_end(internet):
    internet.site("autoconfig.d.com", PATH, (302, {"Location": PATH}, b""))
    assert find("kim@d.com", PRESETS, way_into(internet)).found is None
    assert len([1 for host, _path in internet.visits if host == "autoconfig.d.com"]) == 4


def test_a_certificate_for_another_name(internet):
    internet.site("autoconfig.d.com", PATH, config("smtp.d.com"))
    internet.addresses["cert:autoconfig.d.com"] = "attacker.example"
    assert find("kim@d.com", PRESETS, way_into(internet)).found is None
    assert not internet.visits


def test_a_certificate_of_nobody(internet):
    internet.site("autoconfig.d.com", PATH, config("smtp.d.com"))
    assert find("kim@d.com", PRESETS, way_into(internet, ca=None)).found is None
    assert not internet.visits


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">%s]>
<clientConfig><emailProvider><displayName>&lol9;</displayName></emailProvider></clientConfig>
""" % b"".join(
    b'<!ENTITY lol%d "%s">' % (n, (b"&lol%d;" % (n - 1) if n > 1 else b"&lol;") * 10)
    for n in range(1, 10)
)
EXTERNAL = config("smtp.d.com", name="&file;").replace(
    b"<clientConfig", b'<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/passwd">]><clientConfig', 1
)
OUTSIDE_DTD = config("smtp.d.com").replace(
    b"<clientConfig", b'<!DOCTYPE x SYSTEM "https://attacker.example/x.dtd"><clientConfig', 1
)


@pytest.mark.parametrize(
    "raw",
    [
        LAUGHS,
        EXTERNAL,
        OUTSIDE_DTD,
        EXTERNAL.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        config("smtp.d.com") + b" " * 70_000,
    ],
    ids=["billion laughs", "external entity", "external DTD", "in UTF-16", "huge"],
)
def test_hostile_xml(internet, raw):
    internet.site("autoconfig.d.com", PATH, raw)
    finding = find("kim@d.com", PRESETS, way_into(internet))
    assert finding.found is None
    assert finding.refused == (Refused("autoconfig", "autoconfig.d.com", "hostile"),)
    assert "attacker.example" not in {name for name, _kind in internet.asked}


def test_a_page_that_never_ends(internet):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)
            sent.append(65536)

    internet.site("autoconfig.d.com", PATH, endless)
    assert find("kim@d.com", PRESETS, way_into(internet)).found is None
    assert sum(sent) < 50_000_000


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "inner.d.com", "10.0.0.1", "0x7f.1", "2130706433", "-x.d.com", ""],
)
def test_servers_that_lead_inside(internet, host):
    internet.addresses["inner.d.com"] = ["192.168.0.7"]
    internet.site("autoconfig.d.com", PATH, config(host, incoming="imap.d.com"))
    assert find("kim@d.com", PRESETS, way_into(internet)).found is None


@pytest.mark.parametrize(
    "port", ["0", "65536", "-1", "x", "", "٤٦٥", "9" * 400, "000443999", "0" * 9 + "1"]
)
def test_ports_that_are_none(port):
    with pytest.raises(NotAutoconfig):
        read_autoconfig(config("smtp.d.com", port=port))


def test_no_server_without_tls():
    with pytest.raises(NotAutoconfig):
        read_autoconfig(config("smtp.d.com", encryption="plain"))


def test_a_password_before_oauth():
    raw = config("smtp.d.com").replace(
        b"<outgoingServer",
        b'<outgoingServer type="smtp"><hostname>oauth.d.com</hostname><port>587</port>'
        b"<socketType>STARTTLS</socketType><authentication>OAuth2</authentication>"
        b"</outgoingServer><outgoingServer",
        1,
    )
    assert read_autoconfig(raw).smtp.host == "smtp.d.com"


def test_services_of_somebody_else(internet):
    """Records without a proof must not send a password elsewhere (RFC 6186 6)."""
    internet.srv["_submissions._tcp.d.com"] = (0, 465, "smtp.attacker.example")
    finding = find("kim@d.com", PRESETS, way_into(internet))
    assert finding.found is None
    assert finding.refused == (Refused("srv", "d.com", "foreign"),)
    internet.srv["_submissions._tcp.d.com"] = (0, 465, "smtp.d.com")
    internet.srv["_imaps._tcp.d.com"] = (0, 993, "imap.attacker.example")
    assert find("kim@d.com", PRESETS, way_into(internet)).found is None


@pytest.mark.parametrize(
    "address",
    [
        "::1",
        "fe80::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "224.0.0.1",
    ],
)
def test_addresses_inside(address):
    assert is_inside(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_addresses_outside(address):
    assert not is_inside(address)


# --- without ------------------------------------------------------------------------------


def test_nobody_answers(internet):
    """A host that says nothing costs two seconds, and what else is known is still found."""
    released = []

    def silent(handler):
        start = time.monotonic()
        while time.monotonic() < start + 20 and not handler.connection.recv(1):
            break
        released.append(True)

    internet.site("autoconfig.d.com", PATH, silent)
    internet.mx["d.com"] = [(5, "mxbiz1.qq.com")]
    start = time.monotonic()
    found = find("kim@d.com", PRESETS, way_into(internet)).found
    took = time.monotonic() - start
    assert found.preset == "smtp.exmail.qq.com"
    assert took < SECONDS + 1


def test_without_dnspython(internet, monkeypatch):
    monkeypatch.setattr(network, "dns", None)
    internet.mx["d.com"] = [(5, "mxbiz1.qq.com")]
    finding = find("kim@d.com", PRESETS, Network(deadline=0))
    assert finding.found is None
    assert not finding.asked_dns
    assert find("kim@qq.com", PRESETS, Network()).found.preset == "smtp.qq.com"


# --- the corpus ----------------------------------------------------------------------------


def corpus(internet):
    """Lay the corpus out; give address -> SMTP host, None where it cannot be known."""
    expected = dict(FREE)
    for domain, (exchangers, host) in BY_MX.items():
        internet.mx[domain] = exchangers
        expected[f"kim@{domain}"] = host
    for domain, exchangers in UNKNOWN.items():
        internet.mx[domain] = exchangers
        expected[f"kim@{domain}"] = None
    for domains, host, _exchangers in DATABASE:
        expected.update({f"kim@{domain}": host for domain in domains})
        for domain in domains:
            internet.site("autoconfig.thunderbird.net", f"/v1.1/{domain}", config(host))
    for domain, (exchanger, host) in HOSTED.items():
        internet.mx[domain] = [(10, exchanger)]
        expected[f"kim@{domain}"] = host
    for domain, host in AUTOCONFIG.items():
        internet.site(f"autoconfig.{domain}", PATH, config(host))
        expected[f"kim@{domain}"] = host
    internet.mx["autoconfig-c.com"] = [(10, "aspmx.l.google.com")]
    for domain, host in WELL_KNOWN.items():
        internet.site(domain, WELL_KNOWN_PATH, config(host))
        expected[f"kim@{domain}"] = host
    for domain, host in SERVICES.items():
        internet.srv[f"_submissions._tcp.{domain}"] = (0, 465, host)
        expected[f"kim@{domain}"] = host
    return expected


@pytest.mark.parametrize("shipped", [True, False], ids=["database here", "database there"])
def test_the_corpus(internet, database, tmp_path, shipped, capsys):
    expected = corpus(internet)
    file = database if shipped else tmp_path / "none.json"
    counts, wrong = Counter(), []
    for address, host in expected.items():
        given = smtp_host(find(address, PRESETS, way_into(internet), file))
        outcome = "right" if given == host else "unknown" if given is None else "wrong"
        counts["rightly unknown" if given is host is None else outcome] += 1
        if given != host:
            wrong.append((address, host, given))
    with capsys.disabled():
        sys.stdout.write(f"\n  {len(expected)} addresses: {dict(counts)}\n")
    assert len(expected) >= 60
    assert not wrong
