"""`inhouse firewall`: the printed rules, loaded in a network namespace of their own, against packets from another one."""

import os
import select
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import run  # noqa: E402

PORT, OTHER = 4711, 4712
LISTS = ["--allow", "10.0.0.0/8", "--allow", "fd00::/8", "--deny", "10.66.0.0/16", "--deny", "fd00:66::/32", "--trusted-proxy", "10.66.0.7"]
# (address of the client, whether it may connect)
CLIENTS = [("10.1.0.2", True), ("10.66.0.2", False), ("10.66.0.7", True), ("192.0.2.2", False),
           ("fd00::2", True), ("fd00:66::2", False), ("2001:db8::2", False)]
SERVERS = {"4": "10.1.0.1", "6": "fd00::1"}


def system(*command, text=None, check=True):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=check, stdin=None if text is not None else subprocess.DEVNULL)


class Namespaces:
    """Two namespaces with a cable between them: nothing of the machine's own network is touched."""

    def __init__(self):
        self.server, self.client = f"ih-s-{os.getpid()}", f"ih-c-{os.getpid()}"
        self.names = []

    def __enter__(self):
        try:
            for name in (self.server, self.client):
                system("ip", "netns", "add", name)
                self.names.append(name)
            system("ip", "-n", self.server, "link", "add", "vs", "type", "veth", "peer", "name", "vc", "netns", self.client)
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            raise unittest.SkipTest(f"no network namespaces here: {getattr(error, 'stderr', error)}") from error
        for name, link, addresses in ((self.server, "vs", ["10.1.0.1/32", "fd00::1/128"]),
                                      (self.client, "vc", [f"{a}/{128 if ':' in a else 32}" for a, _ in CLIENTS])):
            for address in addresses:
                system("ip", "-n", name, "addr", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
            system("ip", "-n", name, "link", "set", link, "up")
            for family in ("-4", "-6"):
                system("ip", family, "-n", name, "route", "add", "default", "dev", link)
        return self

    def __exit__(self, *_):
        for name in self.names:
            system("ip", "netns", "delete", name, check=False)

    def inside(self, name, work):
        """Runs `work` on a thread that lives in the namespace, and returns what it returns."""
        result = []

        def enter():
            import ctypes

            with open(f"/run/netns/{name}") as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), 0x40000000) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(work())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return result[0]

    def listen(self):
        def work():
            sockets = []
            for port in (PORT, OTHER):
                for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                    made = socket.socket(family)
                    if family == socket.AF_INET6:
                        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    made.bind((address, port))
                    made.listen()
                    sockets.append(made)
            return sockets

        return self.inside(self.server, work)

    def reach(self, port):
        """{address: whether a connection from there is made}, all tried at the same time."""

        def work():
            tries = {}
            for address, _ in CLIENTS:
                made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
                made.setblocking(False)
                made.bind((address, 0))
                made.connect_ex((SERVERS["6" if ":" in address else "4"], port))
                tries[address] = made
            return tries

        tries = self.inside(self.client, work)
        done, waiting = {}, dict(tries)
        while waiting:
            _, ready, _ = select.select([], list(waiting.values()), [], 1.5)  # a SYN that is dropped has no answer
            if not ready:
                break
            for address in [a for a, made in waiting.items() if made in ready]:
                done[address] = waiting.pop(address).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        for made in tries.values():
            made.close()
        return {address: done.get(address, False) for address, _ in CLIENTS}


class Firewall(unittest.TestCase):
    def rules(self, *flags):
        done = run("firewall", "--port", str(PORT), *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def prove(self, load, unload):
        with Namespaces() as network:
            sockets = network.listen()
            self.assertEqual(network.reach(PORT), {a: True for a, _ in CLIENTS}, "without rules everybody gets through")
            for _ in range(2):  # a second time replaces the first
                load(network.server)
            self.assertEqual(network.reach(PORT), dict(CLIENTS))
            self.assertEqual(network.reach(OTHER), {a: True for a, _ in CLIENTS}, "other ports are none of its business")
            unload(network)
            for made in sockets:
                made.close()

    def need(self, *tools):
        for tool in tools:
            if subprocess.run(["which", tool], capture_output=True, check=False).returncode != 0:
                self.skipTest(f"no {tool} here")
        if os.geteuid() != 0:
            self.skipTest("only root may make network namespaces")

    def test_nftables(self):
        self.need("ip", "nft")
        rules = self.rules("--nftables", *LISTS)

        def load(name):
            system("ip", "netns", "exec", name, "nft", "-f", "-", text="table inet foreign {\n  chain c {\n  }\n}\n")
            system("ip", "netns", "exec", name, "nft", "-f", "-", text=rules)
            self.assertIn("table inet foreign", system("ip", "netns", "exec", name, "nft", "list", "ruleset").stdout)

        def unload(network):
            system("ip", "netns", "exec", network.server, "nft", "-f", "-", text=self.rules("--nftables"))
            self.assertEqual(network.reach(PORT), {a: True for a, _ in CLIENTS}, "no lists, no rules")
            system("ip", "netns", "exec", network.server, "nft", "-f", "-", text=self.rules("--nftables", "--allow", "::/0", "--deny", "fd00::/16"))
            self.assertEqual(network.reach(PORT), {a: not a.startswith("fd00:") for a, _ in CLIENTS}, "::/0 holds IPv4, as in the server")

        self.prove(load, unload)

    def test_iptables(self):
        self.need("ip", "iptables", "ip6tables")
        script = self.rules("--iptables", *LISTS)

        def load(name):
            done = system("ip", "netns", "exec", name, "sh", text=script, check=False)
            if "Could not fetch rule set" in done.stderr or "does not exist" in done.stderr:
                self.skipTest(f"no iptables in this kernel: {done.stderr}")
            self.assertEqual(done.returncode, 0, done.stderr)

        self.prove(load, lambda network: None)

    def test_what_it_refuses(self):
        for flags in (["--port", "0"], ["--allow", "10.0.0.1/8"]):
            self.assertEqual(run("firewall", *flags).returncode, 1)
        self.assertEqual(run("firewall", "--nftables", "--iptables").returncode, 2)


if __name__ == "__main__":
    unittest.main()
