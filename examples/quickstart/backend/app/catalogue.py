"""The products that the shop sells."""

import json


def load(path):
    """Reads the catalogue; every product gets its price in cents."""
    with open(path, encoding="utf-8") as file:
        products = json.load(file)["products"]
    return [{**product, "cents": round(product["price"] * 100)} for product in products]


def in_stock(products):
    """Returns the products that can be ordered now, cheapest first."""
    return sorted((p for p in products if p["stock"] > 0), key=lambda p: p["cents"])
