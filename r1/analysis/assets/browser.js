// The trace browser. Model text reaches the page through textContent alone.
"use strict";
(() => {
  const source = document.querySelector("#trace-data");
  if (!source) return;
  const data = JSON.parse(source.textContent), $ = (id) => document.querySelector("#b-" + id);
  const element = (tag, classes, text) => { const e = document.createElement(tag); if (classes) e.className = classes; if (text !== undefined) e.textContent = text; return e; };
  const option = (select, value, text) => { const o = element("option", "", text); o.value = value; select.append(o); };
  const number = (v, digits = 2) => v === null || v === undefined ? "–" : String(Number(v.toFixed(digits)));

  // groups by phase, step and problem, in the order of the file
  const groups = new Map(), steps = data.phases.map(() => new Set());
  for (const row of data.rows) {
    const key = row.f + "|" + row.s + "|" + row.p;
    if (!groups.has(key)) groups.set(key, { f: row.f, s: row.s, p: row.p, rows: [] });
    groups.get(key).rows.push(row);
    steps[row.f].add(row.s);
  }
  const orderedSteps = steps.map((set) => [...set].sort((a, b) => a - b));
  const state = { phase: 0, step: orderedSteps[0].at(-1), problem: null };

  data.phases.forEach((phase, i) => option($("phase"), i, phase.startsWith("eval/") ? phase.slice(5) : "the rollouts"));
  data.parts.forEach((part, i) => option($("part"), i, part));
  const colours = new Set();
  for (const row of data.rows) if (row.l) Object.keys(row.l).forEach((name) => colours.add(name));
  colours.forEach((name) => option($("colour"), name, name));
  if (!colours.size) $("colour").parentElement.hidden = true;

  const fillSteps = () => {
    $("step").replaceChildren();
    orderedSteps[state.phase].forEach((s) => option($("step"), s, s));
    option($("step"), "all", "all steps");
    if (state.step !== "all" && !orderedSteps[state.phase].includes(state.step)) state.step = orderedSteps[state.phase].at(-1);
    $("step").value = state.step;
  };

  const bounds = (low, high, value) => (low === "" || (value !== null && value >= Number(low))) && (high === "" || (value !== null && value <= Number(high)));
  const passes = (row, words) => {
    const is = (id, value) => $(id).value === "" || Number($(id).value) === value;
    if (!is("verdict", row.k) || !is("reflect", row.r ? 1 : 0) || !is("mixed", row.m)) return false;
    if (!bounds($("min").value, $("max").value, row.n)) return false;
    const part = $("part").value;
    if (part !== "" && !bounds($("low").value, $("high").value, row.v[part])) return false;
    if (!words) return true;
    const problem = data.problems[row.p];
    return [problem.id, problem.q, row.x].some((text) => text.toLowerCase().includes(words));
  };

  const share = (rows) => rows.filter((r) => r.k === 1).length + "/" + rows.length;
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  let visible = [];

  const showList = () => {
    const words = $("search").value.trim().toLowerCase();
    visible = [];
    for (const group of groups.values()) {
      if (group.f !== state.phase || (state.step !== "all" && group.s !== state.step)) continue;
      const rows = group.rows.filter((row) => passes(row, words));
      if (rows.length) visible.push({ ...group, shown: rows });
    }
    const list = document.createDocumentFragment();
    visible.forEach((group, i) => {
      const button = element("button", "", undefined), problem = data.problems[group.p];
      button.type = "button"; button.dataset.index = i;
      button.append(element("span", "q", problem.q));
      const right = group.rows.filter((r) => r.k === 1).length / group.rows.length;
      const figures = element("span", "f", (state.step === "all" ? "step " + group.s + " · " : "") + share(group.rows) + " right · " + Math.round(mean(group.rows.map((r) => r.n))) + " tokens · " + group.rows.filter((r) => r.r).length + " reflect");
      const meter = element("i", "meter"); meter.style.setProperty("--v", right);
      button.append(figures, meter);
      const item = element("li"); item.append(button); list.append(item);
    });
    $("groups").replaceChildren(list);
    const count = visible.reduce((n, g) => n + g.shown.length, 0);
    $("count").textContent = count.toLocaleString() + " traces of " + visible.length.toLocaleString() + " groups";
    const same = visible.findIndex((g) => g.p === state.problem);
    select(same >= 0 ? same : 0, false);
  };

  const select = (index, focus) => {
    const buttons = $("groups").querySelectorAll("button");
    buttons.forEach((b) => { b.removeAttribute("aria-current"); b.tabIndex = -1; });
    const group = visible[index];
    if (!group) { $("pane").replaceChildren(element("p", "setting", "No trace passes these filters.")); return; }
    state.problem = group.p;
    const button = buttons[index];
    button.setAttribute("aria-current", "true"); button.tabIndex = 0;
    if (focus) button.focus({ preventScroll: true });
    const list = $("groups"), top = button.offsetTop - list.offsetTop;
    if (top < list.scrollTop || top + button.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 3;
    showGroup(group);
  };

  const showGroup = (group) => {
    const problem = data.problems[group.p], pane = document.createDocumentFragment();
    const head = element("p", "question"); head.append(element("b", "", problem.q));
    if (problem.gold !== null) { head.append(document.createTextNode("  gold answer: ")); head.append(element("b", "", problem.gold)); }
    pane.append(head);
    const others = element("p", "steps", "the same problem at step ");
    for (const s of orderedSteps[state.phase]) {
      const sibling = groups.get(state.phase + "|" + s + "|" + group.p);
      if (!sibling) continue;
      const jump = element("button", "", s + " · " + share(sibling.rows));
      jump.type = "button"; jump.setAttribute("aria-pressed", String(s === group.s));
      jump.addEventListener("click", () => { if (state.step === "all") { const i = visible.findIndex((g) => g.p === group.p && g.s === s); if (i >= 0) select(i, false); } else goTo(s); });
      others.append(jump);
    }
    pane.append(others);
    const cards = element("div", "columns");
    for (const row of group.shown) cards.append(card(row));
    pane.append(cards);
    if (group.shown.length < group.rows.length) pane.append(element("p", "setting", group.rows.length - group.shown.length + " more of this group do not pass the filters."));
    $("pane").replaceChildren(pane);
  };

  const card = (row) => {
    const article = element("article", "trace" + (row.k === 1 ? " right" : row.k === 0 ? " wrong" : ""));
    const head = element("div", "head");
    head.append(element("span", "verdict", row.k === 1 ? "right" : row.k === 0 ? "wrong" : "not judged"), element("span", "", row.n + " tokens" + (row.c ? " · cut off" : "")));
    if (row.r) head.append(element("span", "", row.r + (row.r === 1 ? " reflection" : " reflections")));
    if (row.m) head.append(element("span", "", "two languages"));
    const text = element("pre"); text.tabIndex = 0; fill(text, row);
    const parts = element("ul", "parts");
    const part = (name, value) => { const li = element("li", "", name + " "); li.append(element("b", "", value)); parts.append(li); };
    row.v.forEach((value, i) => { if (value !== null) part(data.parts[i], number(value, 3)); });
    if (row.w !== null) part("total", number(row.w, 3));
    if (row.a !== null) part("advantage", (row.a >= 0 ? "+" : "−") + number(Math.abs(row.a)));
    article.append(head, text, parts);
    return article;
  };

  // cut the text at the borders of regions and, when tokens are coloured, of tokens
  const fill = (target, row) => {
    const name = $("colour").value, digits = name && row.l ? row.l[name] : null, cuts = new Set([0, row.x.length]);
    for (const [start, end] of row.h) { cuts.add(start); cuts.add(end); }
    const ends = [];
    if (digits) { let at = 0; for (const length of row.t) { at += length; ends.push(at); cuts.add(at); } }
    const borders = [...cuts].sort((a, b) => a - b);
    let token = 0;
    for (let i = 0; i + 1 < borders.length; i++) {
      const start = borders[i], end = borders[i + 1], inside = row.h.filter(([s, e]) => s <= start && end <= e).map((h) => data.names[h[2]]);
      const kind = inside.find((n) => n !== "thought" && n !== "answer");
      const classes = inside.map((n) => n === "thought" || n === "answer" ? n : "reflection").join(" ");
      const piece = element(kind || inside.includes("answer") ? "mark" : "span", classes, row.x.slice(start, end));
      if (kind) piece.title = kind.replace("_", " ");
      if (digits) {
        while (token < ends.length && ends[token] <= start) token++;
        const level = Number(digits[token] || 0);
        piece.classList.add("token");
        // a ratio has two sides: 4 is no change, more is one colour and less another
        piece.style.setProperty("--v", name !== "ratio" ? level : token < ends.length ? 2 * Math.abs(level - 4) : 0);
        if (name === "ratio" && level < 4) piece.classList.add("less");
      }
      target.append(piece);
    }
  };

  const goTo = (step) => { state.step = step; $("step").value = step; showList(); };
  const move = (by) => {
    const all = orderedSteps[state.phase], at = state.step === "all" ? -1 : all.indexOf(state.step);
    const next = all[Math.min(all.length - 1, Math.max(0, at + by))];
    if (next !== undefined && next !== state.step) goTo(next);
  };
  $("phase").addEventListener("change", () => { state.phase = Number($("phase").value); fillSteps(); showList(); });
  $("step").addEventListener("change", () => goTo($("step").value === "all" ? "all" : Number($("step").value)));
  $("prev").addEventListener("click", () => move(-1));
  $("next").addEventListener("click", () => move(1));
  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(showList, 120); };
  for (const id of ["verdict", "reflect", "mixed", "min", "max", "part", "low", "high", "search"]) $(id).addEventListener("input", soon);
  $("colour").addEventListener("input", () => showList());
  $("clear").addEventListener("click", () => { for (const id of ["verdict", "reflect", "mixed", "min", "max", "part", "low", "high", "search"]) $(id).value = ""; showList(); });
  $("groups").addEventListener("click", (event) => { const b = event.target.closest("button"); if (b) select(Number(b.dataset.index), true); });
  $("groups").addEventListener("keydown", (event) => {
    const b = event.target.closest("button"); if (!b) return;
    const i = Number(b.dataset.index), keys = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in keys) { event.preventDefault(); const n = i + keys[event.key]; if (visible[n]) select(n, true); }
    if (event.key === "Home") { event.preventDefault(); select(0, true); }
    if (event.key === "End") { event.preventDefault(); select(visible.length - 1, true); }
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") { event.preventDefault(); move(event.key === "ArrowLeft" ? -1 : 1); const again = $("groups").querySelector("[aria-current]"); if (again) again.focus({ preventScroll: true }); }
  });
  fillSteps(); showList();
})();
