"use strict";
// The reader's choice of light or dark; kept where the browser allows it (not from every file: page).
(() => {
  const root = document.documentElement;
  const kept = {
    get: () => { try { return localStorage.getItem("lmgym-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("lmgym-theme", value); } catch { /* forgotten with the page */ } },
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const now = () => root.dataset.theme ?? (system.matches ? "dark" : "light");
  if (["light", "dark"].includes(kept.get())) root.dataset.theme = kept.get();

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector(".theme");
    const label = () => { button.textContent = now() === "dark" ? "Light theme" : "Dark theme"; };
    button.hidden = false;
    label();
    system.addEventListener("change", label);
    button.addEventListener("click", () => {
      root.dataset.theme = now() === "dark" ? "light" : "dark";
      kept.set(root.dataset.theme);
      label();
    });
  });
})();
