// Shows the catalogue.
async function show() {
  const response = await fetch("/api/products");
  const list = document.getElementById("products");
  for (const product of await response.json()) {
    const item = document.createElement("li");
    item.textContent = `${product.name}: ${(product.cents / 100).toFixed(2)}`;
    list.append(item);
  }
}

show();
