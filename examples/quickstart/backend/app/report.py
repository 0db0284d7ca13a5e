"""Prints what is sold out; a nightly job."""

import os

from . import catalogue

for product in catalogue.load(os.environ["SHOP_CATALOGUE"]):
    if product["stock"] == 0:
        print(product["name"])
