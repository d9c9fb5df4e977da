"""Networks of a few thousand weights, saved as pytorch-3dunet saves them; a server on loopback."""

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
import yaml

from cellflow.core.schema import checked
from cellflow.networks.architecture import Architecture
from cellflow.networks.unet import UNet

BLOCK = {"name": "UNet3D", "in_channels": 1, "out_channels": 1, "f_maps": 4, "num_levels": 2,
         "layer_order": "bcr"}  # fmt: skip


def architecture(**more):
    return checked(Architecture, {"f_maps": 4, "num_levels": 2, **more}, "test")


def network(seed=0, **more):
    """A network with random weights, and statistics of BatchNorm as after a training, in eval mode."""
    torch.manual_seed(seed)
    made = UNet(architecture(**more)).eval()
    for name, values in made.named_buffers():
        if values.is_floating_point():
            values.copy_(torch.rand_like(values) + ("var" in name) * 0.5)
    return made


def save(folder, content=None, name="best_checkpoint.pytorch", config=None, **block):
    """A checkpoint, with its config_train.yml unless `config` is False; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    block = {**BLOCK, **block}
    if content is None:
        content = {"model_state_dict": network(**block).state_dict(), "num_epochs": 3}
    torch.save(content, folder / name)
    if config is not False:
        (folder / "config_train.yml").write_text(yaml.safe_dump(config or {"model": block}))
    return folder / name


@dataclass
class Served:
    """What a server has, what it is able to, and what it was asked for."""

    files: dict[str, bytes]
    ranges: bool = True
    etag: str | None = '"one"'
    cut: int | None = None
    """Close the connection after so many bytes."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of each request."""
    port: int = 0

    def url(self, name):
        return f"http://127.0.0.1:{self.port}{name}"


class Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        served, range_ = self.served, self.headers.get("Range")
        served.asked.append((self.path, range_))
        content = served.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", range_)[1]) if range_ and served.ranges else 0
        if self.headers.get("If-Range") not in (None, served.etag):
            start = 0
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if served.etag:
            self.send_header("ETag", served.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : None if served.cut is None else start + served.cut])


@contextmanager
def serving(files, **more):
    """A server of these files, by path, on a port of loopback."""
    served = Served(files, **more)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"served": served}))
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
