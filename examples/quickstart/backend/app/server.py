"""Answers HTTP requests; no framework, so that the example stays small."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import catalogue


class Shop(BaseHTTPRequestHandler):
    """`/api/products` lists what is in stock, `/healthz` says that the server lives."""

    products = []

    def do_GET(self):
        if self.path == "/api/products":
            self.answer(200, catalogue.in_stock(self.products))
        elif self.path == "/healthz":
            self.answer(200, {"status": "ok"})
        else:
            self.answer(404, {"error": "no such page"})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main():
    Shop.products = catalogue.load(os.environ["SHOP_CATALOGUE"])
    ThreadingHTTPServer(("", 8000), Shop).serve_forever()


if __name__ == "__main__":
    main()
