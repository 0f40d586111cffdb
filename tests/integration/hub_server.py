"""A model hub on loopback that speaks the protocols of Hugging Face and ModelScope, and misbehaves on command.

    with HubServer() as hub:
        hub.add("org/model", {"config.json": b"{}", "model.safetensors": blob}, lfs={"model.safetensors"})
        hub.fault("model.safetensors", {"cut": 1000}, {"status": 500}, None)
        run(HF_ENDPOINT=hub.endpoint)

Two listeners: the hub at 127.0.0.1, and the storage that large files are redirected to, at another port and by
another host name ("localhost"), as the real hubs do it. Faults of a file are used up one a request; the last one
stays if it is `...`-terminated by passing `forever=True`. `log` holds what was asked.
"""

import hashlib
import json
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    def __init__(self, files, lfs, listed, commit):
        self.files = files  # path -> bytes
        self.lfs = lfs  # paths whose SHA-256 the hub knows
        self.listed = listed  # path -> members of the listing to replace
        self.commit = commit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        hub, role = self.server.hub, self.server.role
        with hub.lock:
            hub.log.append({"role": role, "path": self.path, "headers": dict(self.headers.items())})
        try:
            if role == "storage":
                self.storage(hub)
            else:
                self.route(hub)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # --- what both do -------------------------------------------------------------------------------------------

    def reply(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reply_json(self, value, headers=None):
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def not_found(self, code="EntryNotFound"):
        self.reply(404, b"{}", {"X-Error-Code": code, "X-Error-Message": "no such thing here"})

    def denied(self, hub):
        if hub.token is None or self.headers.get("Authorization") == f"Bearer {hub.token}":
            return False
        status = 403 if self.headers.get("Authorization") else 401
        self.reply(status, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "access to it is restricted"})
        return True

    # --- the hub ------------------------------------------------------------------------------------------------

    def route(self, hub):
        url = urllib.parse.urlsplit(self.path)
        parts = [urllib.parse.unquote(p) for p in url.path.strip("/").split("/")]
        query = dict(urllib.parse.parse_qsl(url.query))
        fault = hub.take("api") if parts[0] == "api" else None
        if fault and "status" in fault:
            return self.reply(fault["status"], b"", fault.get("headers"))
        if fault and "body" in fault:
            return self.reply(200, fault["body"], fault.get("headers"))
        if self.denied(hub):
            return None
        if parts[:2] == ["api", "models"]:
            return self.hugging_face_api(hub, parts[2:], query)
        if parts[:3] == ["api", "v1", "models"]:
            return self.model_scope(hub, parts[3:], query)
        if len(parts) > 4 and parts[2] == "resolve":
            return self.resolve(hub, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self.not_found()

    def hugging_face_api(self, hub, parts, query):
        repo = hub.repos.get("/".join(parts[:2]))
        if repo is None:
            return self.not_found("RepoNotFound")
        if parts[3] not in ("main", "v1.0", "refs/pr/1", repo.commit):
            return self.not_found("RevisionNotFound")
        if parts[2] == "revision":
            return self.reply_json({"id": "/".join(parts[:2]), "sha": repo.commit})
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "some-directory"}]
        for path, data in sorted(repo.files.items()):
            entry = {"type": "file", "oid": git_sha1(data), "size": len(data), "path": path}
            if path in repo.lfs:
                entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
            entry.update(repo.listed.get(path, {}))
            entries.append(entry)
        page, cursor = hub.page_size, int(query.get("cursor", 0))
        headers = {}
        if cursor + page < len(entries):
            next_page = f"{hub.endpoint}{urllib.parse.urlsplit(self.path).path}?recursive=true&cursor={cursor + page}"
            headers["Link"] = f'<{next_page}>; rel="next"'
        return self.reply_json(entries[cursor : cursor + page], headers)

    def model_scope(self, hub, parts, query):
        repo = hub.repos.get("/".join(parts[:2]))
        if repo is None:
            return self.reply_json({"Code": 10010205001, "Success": False, "Message": "model not found", "Data": None})
        if parts[3:] == ["files"]:
            files = [{"Name": "d", "Path": "d", "Type": "tree", "Size": 0}]
            for path, data in sorted(repo.files.items()):
                entry = {"Name": path.split("/")[-1], "Path": path, "Type": "blob", "Size": len(data)}
                entry.update({"Sha256": sha256(data), "IsLFS": path in repo.lfs, "Revision": "a" * 40})
                files.append(entry)
            return self.reply_json({"Code": 200, "Success": True, "Data": {"Files": files}})
        return self.resolve(hub, "/".join(parts[:2]), repo.commit, query.get("FilePath", ""))

    def resolve(self, hub, name, revision, path):
        repo = hub.repos.get(name)
        if repo is None or path not in repo.files:
            return self.not_found()
        fault = hub.take("hub:" + path)
        if fault and "redirect" in fault:
            return self.reply(302, b"", {"Location": fault["redirect"]})
        data = repo.files[path]
        if path not in repo.lfs:
            return self.content(hub, path, data, fault or hub.take(path), git_sha1(data))
        if fault and "status" in fault:
            return self.reply(fault["status"], b"", fault.get("headers"))
        linked = {"X-Repo-Commit": repo.commit, "X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{sha256(data)}"'}
        linked.update((fault or {}).get("linked", {}))
        hub.signatures += 1
        target = f"{hub.storage_endpoint}/{name}/{urllib.parse.quote(path)}?signature=secret{hub.signatures}"
        return self.reply(302, b"Found", {"Location": target, **linked})

    # --- the storage --------------------------------------------------------------------------------------------

    def storage(self, hub):
        url = urllib.parse.urlsplit(self.path)
        parts = [urllib.parse.unquote(p) for p in url.path.strip("/").split("/")]
        repo, path = hub.repos["/".join(parts[:2])], "/".join(parts[2:])
        data = repo.files[path]
        return self.content(hub, path, data, hub.take(path), sha256(data))

    def content(self, hub, path, data, fault, etag):
        fault = fault or {}
        if "status" in fault:
            return self.reply(fault["status"], b"", fault.get("headers"))
        data = fault.get("data", data)
        etag = '"%s"' % fault.get("etag", etag)
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        begin, end = 0, len(data)
        partial = wanted is not None and not fault.get("ignore_range") and condition in (None, etag)
        if partial:
            first, last = wanted.removeprefix("bytes=").split("-")
            begin, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            if begin >= len(data):
                return self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        body = data[begin:end]
        if "corrupt" in fault:
            at = fault["corrupt"] - begin
            if 0 <= at < len(body):
                body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        self.send_response(206 if partial else 200)
        self.send_header("ETag", etag)
        for name, value in fault.get("headers", {}).items():
            self.send_header(name, value)
        if partial:
            shift = fault.get("range_shift", 0)
            total = fault.get("range_total", len(data))
            self.send_header("Content-Range", f"bytes {begin + shift}-{end - 1 + shift}/{total}")
        if "extra" in fault:  # more than was said, in chunks, so that no length gives it away
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (body, b"x" * fault["extra"], b""):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            return None
        self.send_header("Content-Length", str(fault.get("content_length", len(body))))
        self.end_headers()
        self.send_body(body[: fault.get("cut", len(body))], fault)
        if "cut" in fault or "content_length" in fault:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        return None

    def send_body(self, body, fault):
        if "stall" in fault:
            self.wfile.write(body[: fault["stall"]])
            self.wfile.flush()
            self.server.hub.released.wait(60)  # until the client has gone and the test is over
        elif "pieces" in fault:  # slow: a piece, a pause
            size = max(1, len(body) // fault["pieces"])
            for at in range(0, len(body), size):
                self.wfile.write(body[at : at + size])
                self.wfile.flush()
                time.sleep(fault.get("pause", 0.02))
        else:
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the play


class HubServer:
    def __init__(self, token=None):
        self.token = token
        self.repos = {}
        self.faults = {}
        self.log = []
        self.signatures = 0
        self.page_size = 1000
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.servers = []
        for role in ("hub", "storage"):
            server = Server(("127.0.0.1", 0), Handler)
            server.hub, server.role = self, role
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.servers.append(server)
        self.endpoint = f"http://127.0.0.1:{self.servers[0].server_port}"
        self.storage_endpoint = f"http://localhost:{self.servers[1].server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.released.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name, files, lfs=(), listed=None, commit="c" * 40):
        self.repos[name] = Repo(dict(files), set(lfs), listed or {}, commit)

    def fault(self, key, *faults, forever=False):
        """`key` is a path (its bytes), "hub:" + path (the redirect of a large file) or "api"."""
        with self.lock:
            self.faults[key] = (list(faults), forever)

    def take(self, key):
        with self.lock:
            queue, forever = self.faults.get(key, ([], False))
            if not queue:
                return None
            return queue[0] if forever and len(queue) == 1 else queue.pop(0)

    def requests(self, text="", role=None):
        with self.lock:
            return [r for r in self.log if text in r["path"] and role in (None, r["role"])]
