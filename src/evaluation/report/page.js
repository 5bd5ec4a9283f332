"use strict";
// Sorting by a column: by number where cells carry one, else by text; a second click turns the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") !== "descending" && head.classList.contains("n")
      || head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
      return head.classList.contains("n") ? -Infinity : cell.textContent;
    };
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0) * (descending ? -1 : 1);
    const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)));
    table.tBodies[0].append(...rows);
  }));
}
// The gallery's filters and order.
const form = document.querySelector(".filters");
const cards = [...document.querySelectorAll(".card")];
const made = (card, method) => card.querySelector(`.method[data-methods~="${method}"]`);
function update() {
  const { action, order, outcome, text } = form.elements;
  const shown = new Set([...form.querySelectorAll("[name=method]:checked")].map((box) => box.value));
  const wanted = text.value.trim().toLowerCase();
  let count = 0;
  for (const card of cards) {
    const success = made(card, order.value)?.dataset.success;
    card.hidden = (action.value && card.dataset.action !== action.value)
      || (outcome.value && success !== outcome.value)
      || (wanted && !card.dataset.text.toLowerCase().includes(wanted));
    count += !card.hidden;
    for (const part of card.querySelectorAll(".method")) {
      part.hidden = !part.dataset.methods.split(" ").some((method) => shown.has(method));
    }
  }
  const bad = (card) => Number(made(card, order.value)?.dataset.bad ?? -1);
  document.querySelector(".cards").append(...cards.sort((a, b) => bad(b) - bad(a)));
  form.querySelector("output").textContent = `${count} of ${cards.length} items`;
}
form.addEventListener("input", update);
form.addEventListener("submit", (event) => event.preventDefault());
update();
// A click enlarges a picture.
document.querySelector(".cards").addEventListener("click", (event) => {
  const large = document.querySelector("img.large");
  large?.classList.remove("large");
  if (event.target.tagName === "IMG" && event.target !== large) event.target.classList.add("large");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector("img.large")?.classList.remove("large");
});
