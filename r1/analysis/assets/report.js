// Numbers under the pointer, and the theme switch. The page reads well without this script.
"use strict";
for (const figure of document.querySelectorAll("figure.chart[data-series]")) {
  const svg = figure.querySelector("svg"), cursor = svg.querySelector(".cursor");
  let data = null, tip = null;
  const hide = () => { cursor.style.visibility = "hidden"; if (tip) { tip.remove(); tip = null; } };
  const show = (clientX) => {
    data = data || JSON.parse(figure.dataset.series);
    const box = svg.getBoundingClientRect(), scale = box.width / data.w, x = (clientX - box.left) / scale;
    const nearest = (xs) => xs.reduce((best, value, i) => Math.abs(value - x) < Math.abs(xs[best] - x) ? i : best, 0);
    const lead = data.series.reduce((a, b) => b.x.length > a.x.length ? b : a), at = lead.x[nearest(lead.x)];
    cursor.setAttribute("x1", at); cursor.setAttribute("x2", at); cursor.style.visibility = "visible";
    if (!tip) { tip = document.createElement("div"); tip.className = "tip"; figure.append(tip); }
    tip.replaceChildren();
    const line = (parts) => { const row = document.createElement("div"); for (const [tag, text] of parts) { const e = document.createElement(tag); e.textContent = text; row.append(e); } tip.append(row); };
    line([["span", "step " + lead.s[nearest(lead.x)]]]);
    for (const s of data.series) {
      const i = nearest(s.x);
      if (Math.abs(s.x[i] - at) > 12) continue;
      line([["span", s.n + "  "], ["b", s.y[i]], ...(s.b ? [["span", "  (" + s.b[i] + ")"]] : [])]);
    }
    const frame = figure.getBoundingClientRect(), half = tip.offsetWidth / 2 + 4;
    tip.style.left = Math.min(Math.max(at * scale + box.left - frame.left, half), frame.width - half) + "px";
    tip.style.top = box.top - frame.top + 6 + "px";
  };
  svg.addEventListener("pointermove", (event) => show(event.clientX));
  svg.addEventListener("pointerdown", (event) => show(event.clientX));
  svg.addEventListener("pointerleave", hide);
}
const theme = document.querySelector("#theme");
if (theme) theme.addEventListener("click", () => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
});
