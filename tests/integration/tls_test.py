"""TLS and mTLS with the real binary: versions, client certificates, reload, slow and rude clients."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving, model, run  # noqa: E402

NAME = Serving.NAME
stack = contextlib.ExitStack()
folder = ""
server = None


def path(name):
    return os.path.join(folder, name)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign")


def certificate(name, signer, use, days="2"):
    with open(path("ext"), "w") as file:
        file.write(f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={use}\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key", "-CAcreateserial", "-out", f"{name}.pem",
            "-days", days, "-extfile", "ext")


def configure(client_ca="ca.pem"):
    with open(path("inhouse.toml"), "w") as file:
        file.write(f'[tls]\ncert = "{path("live.pem")}"\nkey = "{path("live.key")}"\n')
        if client_ca:
            file.write(f'client_ca = "{path(client_ca)}"\n')


def setUpModule():
    global folder, server
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    for name in ("ca", "stranger"):
        authority(name)
    certificate("server", "ca", "serverAuth")
    certificate("renewed", "ca", "serverAuth")
    certificate("client", "ca", "clientAuth")
    certificate("foreign", "stranger", "clientAuth")
    certificate("wrong-use", "ca", "serverAuth")
    for end in ("pem", "key"):
        os.symlink(f"server.{end}", path(f"live.{end}"))
    configure()
    server = stack.enter_context(Serving("--config", path("inhouse.toml"), "--header-seconds", "1"))


def tearDownModule():
    stack.close()


def context(client="client", lowest=ssl.TLSVersion.TLSv1_2, highest=ssl.TLSVersion.TLSv1_3):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(path("ca.pem"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.set_ciphers("ALL:@SECLEVEL=0")
        made.minimum_version, made.maximum_version = lowest, highest
    if client:
        made.load_cert_chain(path(f"{client}.pem"), path(f"{client}.key"))
    return made


def call(method, target, body=None, using=None):
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=using or context(), timeout=30)
    try:
        connection.request(method, target, json.dumps(body) if body else None)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Versions(unittest.TestCase):
    def test_1_2_and_1_3(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            made = context(lowest=version, highest=version)
            with socket.create_connection(("127.0.0.1", server.port)) as plain, made.wrap_socket(plain, server_hostname="localhost") as wrapped:
                self.assertEqual(wrapped.version(), name)
                wrapped.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                text = b""
                while piece := wrapped.recv(65536):
                    text += piece
                self.assertTrue(text.endswith(b'{"status":"ok"}'), text)
                self.assertIsNone(wrapped.session.ticket_lifetime_hint or None, "no tickets")

    def test_1_1_is_refused(self):
        made = context(lowest=ssl.TLSVersion.TLSv1, highest=ssl.TLSVersion.TLSv1_1)
        with self.assertRaisesRegex(ssl.SSLError, "(?i)protocol.version|unsupported"):
            call("GET", "/livez", using=made)

    def test_weak_ciphers_are_refused(self):
        made = context(highest=ssl.TLSVersion.TLSv1_2)
        made.set_ciphers("AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)handshake.failure"):
            call("GET", "/livez", using=made)

    def test_alpn(self):
        made = context()
        made.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection(("127.0.0.1", server.port)) as plain, made.wrap_socket(plain, server_hostname="localhost") as wrapped:
            self.assertEqual(wrapped.selected_alpn_protocol(), "http/1.1")


class Clients(unittest.TestCase):
    def test_who_has_no_certificate_of_ours_gets_nothing(self):
        for client in (None, "foreign", "wrong-use"):
            for highest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.assertRaises((ssl.SSLError, ConnectionError), msg=f"{client} {highest}"):
                    call("GET", "/livez", using=context(client, highest=highest))
        self.assertEqual(call("GET", "/livez")[0], 200)

    def test_plain_http_is_refused(self):
        with server.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
            text = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    text += piece
            self.assertNotIn(b"200 OK", text)

    def test_slow_and_silent_handshakes_are_cut_off(self):
        with server.raw() as silent, server.raw(b"\x16\x03\x01\x02") as slow:
            for connection in (silent, slow):
                connection.settimeout(10)
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(connection.recv(100), b"")

    def test_garbage(self):
        for data in (os.urandom(5000), b"\x16\x03\x01\xff\xff" + bytes(70000), b"\x00" * 100):
            with server.raw() as connection, contextlib.suppress(ConnectionError):
                connection.sendall(data)
                connection.settimeout(10)
                while connection.recv(1000):
                    pass
        self.assertEqual(call("GET", "/livez")[0], 200)


class Traffic(unittest.TestCase):
    def test_stream_and_large_bodies(self):
        status, text = call("POST", "/v1/chat/completions", {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "stream": True,
                                                             "max_tokens": 5, "ignore_eos": True})
        self.assertEqual(status, 200)
        self.assertTrue(text.endswith("data: [DONE]\n\n"), text[-200:])
        # 2 MB there, and its tokens back.
        status, text = call("POST", "/tokenize", {"prompt": "hello world " * 170_000})
        self.assertEqual(status, 200)
        self.assertGreater(json.loads(text)["count"], 300_000)

    def test_byte_by_byte(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with server.raw() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def flush():
                for byte in outgoing.read():
                    connection.send(bytes([byte]))

            def until(step):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        flush()
                        incoming.write(connection.recv(7))

            until(tls.do_handshake)
            tls.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            flush()
            self.assertTrue(until(lambda: tls.read(1000)).startswith(b"HTTP/1.1 200"))


class Reload(unittest.TestCase):
    def serial(self):
        with socket.create_connection(("127.0.0.1", server.port)) as plain, context().wrap_socket(plain, server_hostname="localhost") as wrapped:
            return wrapped.getpeercert()["subject"][0][0][1]

    def hang_up(self, expect):
        before = server.stderr().count(expect)
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while server.stderr().count(expect) == before:
            self.assertLess(time.monotonic(), end, server.stderr()[-1000:])

    def swap(self, name):
        for end in ("pem", "key"):
            os.symlink(f"{name}.{end}", path("next"))
            os.replace(path("next"), path(f"live.{end}"))

    def test_new_certificate_without_dropping_a_connection(self):
        self.assertEqual(self.serial(), "server")
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context(), timeout=30)
        connection.request("GET", "/livez")
        connection.getresponse().read()
        self.swap("renewed")
        try:
            self.hang_up("certificates read again")
            self.assertEqual(self.serial(), "renewed")
            connection.request("GET", "/livez")
            self.assertEqual(connection.getresponse().status, 200)
            self.assertEqual(connection.sock.getpeercert()["subject"][0][0][1], "server")
            # A broken one changes nothing.
            os.symlink("ext", path("next"))
            os.replace(path("next"), path("live.pem"))
            self.hang_up("nothing was reloaded")
            self.assertEqual(self.serial(), "renewed")
        finally:
            connection.close()
            self.swap("server")
            self.hang_up("certificates read again")

    def test_other_authorities(self):
        configure("stranger.pem")
        try:
            self.hang_up("certificates read again")
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                call("GET", "/livez")
            self.assertEqual(call("GET", "/livez", using=context("foreign"))[0], 200)
            # The demand for certificates cannot be dropped while the server runs: nothing else proves who is calling.
            configure(None)
            self.hang_up("nothing was reloaded: tls.client_ca")
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                call("GET", "/livez", using=context(None))
        finally:
            configure()
            self.hang_up("certificates read again")
        self.assertEqual(call("GET", "/livez")[0], 200)


class Starts(unittest.TestCase):
    def test_bad_files(self):
        cases = ((["--tls-cert", path("server.pem"), "--tls-key", path("client.key")], "client.key"),
                 (["--tls-cert", path("ext"), "--tls-key", path("server.key")], "ext"),
                 (["--tls-cert", path("server.pem")], "both a certificate and its key"),
                 (["--tls-cert", path("server.pem"), "--tls-key", path("server.key"), "--tls-client-ca", path("ext")], "tls.client_ca"))
        for flags, expected in cases:
            done = run("serve", "--model", model(), "--port", "0", *flags)
            self.assertEqual((done.returncode, done.stdout), (1, ""), flags)
            self.assertIn(expected, done.stderr)


if __name__ == "__main__":
    unittest.main()
