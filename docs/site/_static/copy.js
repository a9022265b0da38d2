// Buttons that copy code. Of a console example, only the commands are copied.
"use strict";

function copied(block, language) {
  if (language !== "console") return block.textContent;
  const lines = block.textContent.split("\n").filter((line) => line.startsWith("$ "));
  return lines.map((line) => line.slice(2)).join("\n") + "\n";
}

document.addEventListener("DOMContentLoaded", () => {
  for (const block of document.querySelectorAll("div.highlight > pre")) {
    const host = block.parentElement;
    const language = /highlight-(\w+)/.exec(host.parentElement.className)?.[1] ?? "";
    if (language === "text" || !navigator.clipboard) continue;
    const button = document.createElement("button");
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(copied(block, language));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    host.classList.add("copy-host");
    host.append(button);
  }
});
