"""Proves that Fovea and huggingface_hub read the same cache.

A hub on 127.0.0.1, over TLS with a certificate made here, serves models/fovea-tiny as org/name.
1. `fovea pull` writes a cache; huggingface_hub finds the snapshot offline, scans the cache without a
   warning, and has nothing to download. 2. huggingface_hub writes another; `fovea ls`, `verify` and
   `generate` read it, and `fovea pull` has nothing to download. A certificate that nobody signed is
   refused first.

    build/reference-venv/bin/python tools/hub/check_huggingface_hub.py     # after ./dev reference
"""

import hashlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOVEA = ROOT / "build/release/fovea"
MODEL = ROOT / "models/fovea-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def entry(path):
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    found = {"type": "file", "path": path.name, "size": len(data), "oid": git}
    if path.suffix == ".safetensors":
        found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return found


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = []  # paths of files whose bytes went out

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        files = [entry(p) for p in sorted(MODEL.iterdir())]
        if path.startswith("/api/models/org/name/tree/"):
            return self.answer(200, json.dumps(files).encode(), Content_Type="application/json")
        if path.startswith("/api/models/org/name"):
            info = {"id": "org/name", "modelId": "org/name", "sha": COMMIT, "private": False, "tags": [],
                    "siblings": [{"rfilename": f["path"]} for f in files]}
            return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        name = path.rsplit("/", 1)[-1]
        found = next((f for f in files if f["path"] == name), None)
        if not path.startswith("/org/name/resolve/") or found is None:
            return self.answer(404)
        data = (MODEL / name).read_bytes()
        size = {"X_Linked_Size": str(len(data))}
        headers = {"ETag": f'"{found["oid"]}"', "X_Repo_Commit": COMMIT, **size}
        if "lfs" in found:
            headers["X_Linked_Etag"] = f'"{found["lfs"]["oid"]}"'
        if self.command == "GET":
            Hub.served.append(name)
        wanted = self.headers.get("Range")
        if wanted is None:
            return self.answer(200, data, **headers)
        begin, end = wanted.removeprefix("bytes=").split("-")
        begin, end = int(begin), int(end or len(data) - 1)
        headers["Content_Range"] = f"bytes {begin}-{end}/{len(data)}"
        self.answer(206, data[begin:end + 1], **headers)

    do_HEAD = do_GET


def serve(folder):
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
                    "-out", certificate], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://localhost:{server.server_port}", certificate


class Check:
    def __init__(self, address, certificate, folder):
        self.environment = {**os.environ, "HF_ENDPOINT": address, "SSL_CERT_FILE": str(certificate),
                            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self.folder = folder

    def run(self, cache, *command, good=True, **variables):
        environment = {**self.environment, "HF_HUB_CACHE": str(self.folder / cache), **variables}
        made = subprocess.run(command, env=environment, capture_output=True, text=True)
        if (made.returncode == 0) != good:
            sys.exit(f"FAIL {command}: {made.stdout}{made.stderr}")
        return made.stdout + made.stderr

    def python(self, cache, code, **variables):
        return self.run(cache, sys.executable, "-c", code, **variables).strip()

    def fovea(self, cache, *words, **options):
        return self.run(cache, FOVEA, *words, **options)


SNAPSHOT = "from huggingface_hub import snapshot_download; print(snapshot_download('org/name'))"
SCAN = """
from huggingface_hub import scan_cache_dir
info = scan_cache_dir()
assert not info.warnings, info.warnings
(repo,) = info.repos
(revision,) = repo.revisions
print(repo.repo_id, revision.commit_hash, sorted(revision.refs), len(revision.files), repo.size_on_disk)
"""


def ask(check, cache):
    return check.fovea(cache, "generate", "--model", "org/name", "--prompt", "What is in this picture?",
                       "--image", ROOT / "examples/pictures/cat_dog.png", HF_HUB_OFFLINE="1")


def main():
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        address, certificate = serve(folder)
        check = Check(address, certificate, folder)
        refused = check.fovea("none", "pull", "org/name", good=False, SSL_CERT_FILE="/dev/null")
        assert "certificate verify failed" in refused, refused
        print("ok   a certificate that nobody signed is refused")

        check.fovea("ours", "pull", "org/name")
        assert COMMIT in check.python("ours", SNAPSHOT, HF_HUB_OFFLINE="1")
        print("ok   huggingface_hub reads our cache:", check.python("ours", SCAN))
        Hub.served.clear()
        check.python("ours", SNAPSHOT)
        assert not Hub.served, Hub.served
        print("ok   huggingface_hub has nothing to download")

        check.python("theirs", SNAPSHOT)
        print("ok   we read huggingface_hub's:", check.fovea("theirs", "ls").strip())
        print("ok  ", check.fovea("theirs", "verify", "org/name").strip())
        Hub.served.clear()
        check.fovea("theirs", "pull", "org/name")
        assert not Hub.served, Hub.served
        print("ok   fovea has nothing to download")
        assert ask(check, "theirs") == ask(check, "ours")
        print("ok   both answer:", ask(check, "ours").strip())
        check.fovea("theirs", "rm", "org/name")
        assert not check.fovea("theirs", "ls").strip()
        print("ok   removed")


if __name__ == "__main__":
    main()
