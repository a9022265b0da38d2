// A search field on the page of error messages: shows the entries that have all words.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const page = document.getElementById("error-messages");
  if (!page) return;
  const entries = [...page.querySelectorAll(":scope > section > section")];
  const texts = entries.map((entry) => entry.textContent.toLowerCase());
  const form = document.createElement("form");
  form.className = "filter";
  form.setAttribute("role", "search");
  form.innerHTML =
    '<input type="search" aria-label="Words of the message" placeholder="Words of the message">' +
    '<output aria-live="polite"></output>';
  const [input, output] = form.children;
  const filter = () => {
    const words = input.value.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
    let shown = 0;
    entries.forEach((entry, number) => {
      entry.hidden = !words.every((word) => texts[number].includes(word));
      shown += !entry.hidden;
    });
    output.textContent = words.length ? `${shown} of ${entries.length}` : `${entries.length} entries`;
  };
  input.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  page.querySelector(":scope > section").before(form);
  filter();
});
