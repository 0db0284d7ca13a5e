import unittest

from app import catalogue


class Catalogue(unittest.TestCase):
    def test_what_is_sold_out_is_not_offered(self):
        products = [{"name": "tea", "cents": 500, "stock": 0}, {"name": "cup", "cents": 900, "stock": 3}]
        self.assertEqual([p["name"] for p in catalogue.in_stock(products)], ["cup"])
