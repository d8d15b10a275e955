"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const index = read("index");
  const byId = (id) => document.getElementById(id);

  // Elements are made of texts only: what was recorded is never markup.
  function el(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "class") made.className = value;
      else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(9)) {
      if (child !== null && child !== undefined && child !== false && child !== "") made.append(child);
    }
    return made;
  }

  function time(seconds) {
    if (seconds === null || seconds === undefined) return "open";
    if (seconds < 0.001) return Math.round(seconds * 1e6) + " µs";
    if (seconds < 1) return Number((seconds * 1000).toPrecision(3)) + " ms";
    if (seconds < 60) return seconds.toFixed(2) + " s";
    return Math.floor(seconds / 60) + " min " + Math.floor(seconds % 60) + " s";
  }

  const isFailed = (outcome) => outcome === "failed" || outcome === "error";
  const ORDER = ["failed", "error", "passed", "skipped", "unfinished"];
  const counts = new Map();
  for (const test of index.tests) counts.set(test.outcome, (counts.get(test.outcome) || 0) + 1);
  const outcomes = [...new Set([...ORDER, ...counts.keys()])].filter((o) => counts.get(o));

  // ---- documents: YAML to read, lines to compare

  const PLAIN = /^[A-Za-z_./][A-Za-z0-9_./@%+-]*( [A-Za-z0-9_./@%+()-]+)*$/;
  const WORDS = /^(true|false|null|yes|no|on|off|y|n|~)$/i;

  function scalar(value) {
    if (typeof value !== "string") return value === null ? "null" : JSON.stringify(value);
    return PLAIN.test(value) && !WORDS.test(value) ? value : JSON.stringify(value);
  }

  function empty(value) {
    return Array.isArray(value) ? !value.length : !Object.keys(value).length;
  }

  function yaml(value, indent, lines) {
    const pad = " ".repeat(indent);
    const put = (lead, inner, deeper) => {
      if (inner !== null && typeof inner === "object") {
        if (empty(inner)) lines.push(lead + (Array.isArray(inner) ? " []" : " {}"));
        else {
          lines.push(lead);
          yaml(inner, deeper, lines);
        }
      } else if (typeof inner === "string" && inner.includes("\n") && !/[\u0000-\u0008\r]/.test(inner)) {
        lines.push(lead + (inner.endsWith("\n") ? " |" : " |-"));
        for (const line of inner.replace(/\n$/, "").split("\n")) lines.push(" ".repeat(deeper) + line);
      } else lines.push(lead + " " + scalar(inner));
    };
    if (Array.isArray(value)) {
      for (const each of value) {
        if (each !== null && typeof each === "object" && !empty(each)) {
          const inner = [];
          yaml(each, indent + 2, inner);
          inner[0] = pad + "- " + inner[0].slice(indent + 2);
          lines.push(...inner);
        } else put(pad + "-", each, indent + 2);
      }
    } else {
      for (const [key, inner] of Object.entries(value)) put(pad + scalar(key) + ":", inner, indent + 2);
    }
    return lines;
  }

  // Who manages which field is of no interest beside the fields.
  function shown(value) {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(shown);
    const made = {};
    for (const [key, inner] of Object.entries(value)) {
      if (key === "metadata" && inner !== null && typeof inner === "object" && "managedFields" in inner) {
        const { managedFields, ...rest } = inner;
        made[key] = shown(rest);
      } else made[key] = shown(inner);
    }
    return made;
  }

  function linesOf(value) {
    if (value === null || typeof value !== "object") return String(value).split("\n");
    if (empty(value)) return [Array.isArray(value) ? "[]" : "{}"];
    return yaml(shown(value), 0, []);
  }

  // Keys of both sides in one order, so that only what differs differs.
  function alike(value, other) {
    if (Array.isArray(value)) return value.map((each, i) => alike(each, Array.isArray(other) ? other[i] : undefined));
    if (value === null || typeof value !== "object") return value;
    const there = other !== null && typeof other === "object" && !Array.isArray(other) ? other : {};
    const keys = [...Object.keys(there).filter((k) => k in value), ...Object.keys(value).filter((k) => !(k in there))];
    return Object.fromEntries(keys.map((k) => [k, alike(value[k], there[k])]));
  }

  // Longest common lines between what begins and what ends alike.
  function compare(before, after) {
    let head = 0;
    while (head < before.length && head < after.length && before[head] === after[head]) head++;
    let tail = 0;
    while (tail < before.length - head && tail < after.length - head
      && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
    const a = before.slice(head, before.length - tail), b = after.slice(head, after.length - tail);
    const steps = before.slice(0, head).map((line) => [" ", line]);
    if (a.length * b.length > 4e6) {
      steps.push(...a.map((line) => ["-", line]), ...b.map((line) => ["+", line]));
    } else {
      const width = b.length + 1;
      const table = new Uint32Array((a.length + 1) * width);
      for (let i = a.length - 1; i >= 0; i--) {
        for (let j = b.length - 1; j >= 0; j--) {
          table[i * width + j] = a[i] === b[j]
            ? table[(i + 1) * width + j + 1] + 1
            : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
        }
      }
      let i = 0, j = 0;
      while (i < a.length || j < b.length) {
        if (i < a.length && j < b.length && a[i] === b[j]) { steps.push([" ", a[i]]); i++; j++; }
        else if (i < a.length && (j === b.length || table[(i + 1) * width + j] >= table[i * width + j + 1])) steps.push(["-", a[i++]]);
        else steps.push(["+", b[j++]]);
      }
    }
    steps.push(...after.slice(after.length - tail).map((line) => [" ", line]));
    return steps;
  }

  function difference(before, after) {
    const steps = compare(linesOf(before), linesOf(alike(after, before)));
    const near = steps.map(() => false);
    let changed = 0;
    steps.forEach(([sign], i) => {
      if (sign === " ") return;
      changed++;
      for (let k = Math.max(0, i - 3); k <= Math.min(steps.length - 1, i + 3); k++) near[k] = true;
    });
    if (!changed) return null;
    // A sign that something is left out is no shorter than one line.
    for (let i = 1; i + 1 < near.length; i++) if (!near[i] && near[i - 1] && near[i + 1]) near[i] = true;
    const pre = el("pre", { class: "diff", tabindex: "0" });
    steps.forEach(([sign, line], i) => {
      if (!near[i]) return;
      if (i && !near[i - 1]) pre.append(el("span", { class: "hunk" }, "⋯"));
      const kind = sign === "+" ? "add" : sign === "-" ? "del" : "same";
      pre.append(el("span", { class: kind }, sign + " " + line));
    });
    const plus = steps.filter(([s]) => s === "+").length, minus = steps.filter(([s]) => s === "-").length;
    return { pre, title: `changed: +${plus} −${minus}` };
  }

  // ---- a test

  const WRITES = new Set(["create", "update", "patch", "delete", "deletecollection", "post", "put"]);

  function keyOf(call, name) {
    return [call.group, call.resource, call.namespace, name].join("\n");
  }

  function isObject(document) {
    return document !== null && typeof document === "object" && !Array.isArray(document)
      && document.metadata !== null && typeof document.metadata === "object" && document.metadata.name;
  }

  // What each object was before a call, as far as this timeline knows.
  function versions(events) {
    const known = new Map(), before = new Map();
    for (const event of events) {
      if (event.sort !== "call" || event.kind !== "kube" || (event.subresource && event.subresource !== "status")) continue;
      const response = event.response;
      if (isObject(response)) {
        const key = keyOf(event, response.metadata.name);
        const last = event.before || known.get(key);
        if (last && event.verb !== "delete") before.set(event.id, last);
        known.set(key, response);
      } else if (response && Array.isArray(response.items)) {
        for (const item of response.items) {
          if (isObject(item)) known.set(keyOf({ ...event, namespace: item.metadata.namespace || "" }, item.metadata.name), item);
        }
      }
    }
    return before;
  }

  // What is inside is made when it is opened: by a click at once, by whatever else soon after.
  function lazily(details, content) {
    const fill = () => {
      if (details.children.length !== 1) return;
      const made = content();
      if (made) details.append(made);
    };
    details.firstChild.addEventListener("click", fill);
    details.addEventListener("toggle", () => { if (details.open) fill(); });
    if (details.open) fill();
    return details;
  }

  function folded(title, content, open) {
    return lazily(el("details", { open }, el("summary", {}, title)), content);
  }

  const document_ = (value) => el("pre", { tabindex: "0" }, linesOf(value).join("\n"));

  function callTitle(call) {
    if (call.kind === "http") return call.path;
    // What is created may get its name from the server.
    const name = call.name || (call.verb === "create" && isObject(call.response)) || "";
    return call.resource + (name ? "/" + name : "") + (call.subresource ? "/" + call.subresource : "");
  }

  function callText(call) {
    if (call.kind === "http") return call.method + " " + call.path;
    return (call.verb || call.method).toUpperCase() + " " + callTitle(call) + (call.namespace ? " in " + call.namespace : "");
  }

  function said(assertion) {
    return `${assertion.path || "the answer"} ${assertion.operator} ${assertion.expected}`;
  }

  class Test {
    constructor(number, data) {
      this.number = number;
      this.data = data;
      this.events = data.events;
      this.byId = new Map(this.events.map((event) => [event.id, event]));
      this.under = new Map();
      for (const event of this.events) {
        if (event.sort !== "assertion") continue;
        if (!this.under.has(event.call)) this.under.set(event.call, []);
        this.under.get(event.call).push(event);
      }
      const wrong = this.events.filter((event) => event.sort === "assertion" && !event.passed);
      this.cause = isFailed(data.outcome) ? wrong[wrong.length - 1] || null : null;
      this.before = versions(this.events);
      const ends = this.events.map((event) => event.at + (event.took || 0));
      this.span = Math.max(data.took, ...ends, 1e-6);
    }

    anchor(event) { return `t${this.number}-e${event.id}`; }

    render() {
      const failed = isFailed(this.data.outcome);
      return el("div", { class: "body" },
        failed && this.causeBlock(),
        this.data.kept && el("div", { class: "kept" }, "The cluster was kept: ", el("code", {}, this.data.kept)),
        this.data.failure && this.failureText(failed),
        this.atFailure(),
        this.timeline());
    }

    causeBlock() {
      const cause = this.cause;
      if (!cause) return null;
      const call = this.byId.get(cause.call);
      const link = call && el("a", { href: "#" + this.anchor(call), onclick: (event) => { event.preventDefault(); jump(this.anchor(call)); } },
        callText(call) + (cause.path ? " → " + cause.path : ""));
      return el("div", { class: "cause" },
        el("div", { class: "said" }, "expected " + said(cause)),
        el("dl", {},
          el("dt", {}, "it is"), el("dd", { class: "actual" }, cause.actual),
          link && [el("dt", {}, "from"), el("dd", {}, link)],
          cause.where && [el("dt", {}, "at"), el("dd", {}, cause.where, cause.source && el("span", { class: "quiet" }, "   " + cause.source))]));
    }

    failureText(failed) {
      const long = this.data.failure.split("\n").length > 40;
      const text = () => el("pre", { class: "failure", tabindex: "0" }, this.data.failure);
      if (!failed || (long && this.cause)) {
        const made = folded(failed ? "failure text" : "reason", text, !failed);
        made.className = "text";
        return made;
      }
      return text();
    }

    atFailure() {
      const kinds = { pods: 0, event: 1, "pod-log": 2 };
      const notes = this.events.filter((e) => e.sort === "note" && e.kind in kinds).sort((a, b) => kinds[a.kind] - kinds[b.kind]);
      if (!notes.length) return null;
      return el("div", { class: "at-failure" }, el("h3", {}, "The cluster at the failure"),
        notes.map((note) => note.text
          ? folded(note.title, () => el("pre", { tabindex: "0" }, note.text), note.kind !== "pod-log" || notes.length < 4)
          : el("div", { class: "quiet" }, note.title)));
    }

    timeline() {
      const rows = this.events
        .filter((event) => !(event.sort === "note" && ["pods", "event", "pod-log"].includes(event.kind)))
        .filter((event) => !(event.sort === "assertion" && this.byId.has(event.call)))
        .map((event) => event.sort === "call" ? this.call(event) : event.sort === "note" ? this.note(event) : this.loose(event));
      if (!rows.length) return el("p", { class: "quiet" }, "Nothing was asked of the cluster.");
      return [el("h3", {}, "Timeline"), el("div", { class: "timeline" }, rows)];
    }

    lane(event) {
      const bar = el("i", { class: event.took === null ? "open" : null });
      const took = event.took === null ? this.span - event.at : event.took || 0;
      bar.style.left = Math.min(99, (100 * event.at) / this.span) + "%";
      bar.style.width = Math.min(100 - (100 * event.at) / this.span, (100 * took) / this.span) + "%";
      return el("span", { class: "lane", "aria-hidden": "true" }, bar);
    }

    tally(assertions) {
      if (!assertions.length) return null;
      const good = assertions.filter((a) => a.passed).length, wrong = assertions.length - good;
      const bad = this.cause && assertions.includes(this.cause);
      return [
        good ? el("span", { class: "tally", title: "assertions that hold" }, "✓ " + good) : null,
        wrong ? el("span", { class: "tally " + (bad ? "bad" : "again"), title: bad ? "assertions that failed" : "comparisons that did not hold" }, "✗ " + wrong) : null];
    }

    call(call) {
      const assertions = this.under.get(call.id) || [];
      const wrong = call.status >= 400 || (call.status === 0 && call.took !== null);
      const culprit = this.cause !== null && this.cause.call === call.id;
      const classes = ["line", WRITES.has((call.verb || call.method).toLowerCase()) && "write", wrong && "wrong",
        culprit && "culprit", call.parent && this.byId.has(call.parent) && "child"].filter(Boolean).join(" ");
      const status = call.status ? String(call.status) : call.took === null ? "" : "no answer";
      const made = el("details", { class: classes, id: this.anchor(call) },
        el("summary", { class: "row" },
          el("span", { class: "at" }, "+" + time(call.at)), this.lane(call),
          el("span", { class: "verb" }, call.kind === "http" ? call.method : call.verb || call.method),
          el("span", { class: "what" }, callTitle(call),
            call.namespace && el("span", { class: "ns" }, " " + call.namespace),
            call.agent !== "test" && el("span", { class: "agent" }, call.agent)),
          el("span", { class: "end" }, this.tally(assertions), el("span", { class: "status" }, status)),
          el("span", { class: "took" }, time(call.took))));
      made.open = culprit;
      return lazily(made, () => this.more(call, assertions));
    }

    more(call, assertions) {
      const last = this.before.get(call.id);
      const change = last && isObject(call.response) ? difference(last, call.response) : null;
      const write = WRITES.has(call.verb);
      return el("div", { class: "more" },
        assertions.length ? this.list(assertions) : null,
        el("div", { class: "mono quiet" }, call.method + " " + call.path + (call.query ? "?" + call.query : "")),
        call.error && el("pre", {}, call.error),
        call.seen.length ? this.seen(call.seen) : null,
        change && folded(change.title, () => change.pre, true),
        call.request !== null && folded("request", () => document_(call.request), write && !change && !call.before),
        call.response !== null && folded("response", () => document_(call.response), !change && !write && !assertions.length),
        call.response === null && call.size > 0 && el("div", { class: "quiet" }, `The answer of ${call.size.toLocaleString("en")} bytes was not kept.`),
        call.before && !change && folded("before", () => document_(call.before), call.verb === "delete"));
    }

    list(assertions) {
      return el("ul", { class: "assertions" }, assertions.map((a) => {
        const bad = a === this.cause;
        const sign = a.passed ? "good" : bad ? "bad" : "again";
        return el("li", { class: bad ? "bad cause-line" : null, id: this.anchor(a) },
          el("span", { class: "sign " + sign, title: a.passed ? "holds" : "does not hold" }, a.passed ? "✓" : "✗"),
          el("span", { class: "said" }, said(a),
            !a.passed && el("span", { class: bad ? "actual" : "quiet" }, "  but it is " + a.actual)),
          el("span", { class: "where", title: a.source }, a.where));
      }));
    }

    seen(events) {
      return el("table", { class: "seen" },
        el("thead", {}, el("tr", {}, ["at", "event", "object", "version"].map((t) => el("th", { scope: "col" }, t)))),
        el("tbody", {}, events.map(([at, type, namespace, name, version]) => el("tr", {},
          [`+${time(at)}`, type, namespace ? namespace + "/" + name : name, version].map((t) => el("td", {}, String(t)))))));
    }

    note(note) {
      if (note.kind === "phase") {
        return el("div", { class: "phase line" }, note.title, el("span", { class: "at" }, "+" + time(note.at)));
      }
      const row = [
        el("span", { class: "at" }, "+" + time(note.at)), this.lane({ at: note.at, took: 0 }),
        el("span", { class: "kind" }, note.kind), el("span", { class: "what" }, note.title), el("span"), el("span")];
      if (!note.text && note.data === null) return el("div", { class: "line note", id: this.anchor(note) }, el("div", { class: "row" }, row));
      return el("details", { class: "line note", id: this.anchor(note), open: note.kind === "error" },
        el("summary", { class: "row" }, row),
        el("div", { class: "more" }, note.text && el("pre", { tabindex: "0" }, note.text), note.data !== null && document_(note.data)));
    }

    loose(assertion) {
      return el("div", { class: "line loose" }, this.list([assertion]));
    }
  }

  // ---- the list

  const rows = [];
  const loaded = new Map(), loading = new Map();

  // A test's timeline: there at once, or after it was unpacked.
  function load(number) {
    if (loaded.has(number)) return loaded.get(number);
    if (loading.has(number)) return loading.get(number);
    const element = byId("data-" + number);
    if (element.type === "application/json") {
      loaded.set(number, JSON.parse(element.textContent));
      return loaded.get(number);
    }
    const packed = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const unpacked = new Response(stream).json().then((data) => { loaded.set(number, data); return data; });
    loading.set(number, unpacked);
    return unpacked;
  }

  function put(row, number, data) {
    if (row.children.length === 1) row.append(new Test(number, data).render());
  }

  // Fills it; a promise where that is not done yet.
  function fill(number) {
    const row = byId("t" + number), data = load(number);
    if (data instanceof Promise) return data.then((there) => put(row, number, there));
    return put(row, number, data);
  }

  function testRow(test, number) {
    const name = test.name.includes("::") ? test.name.slice(test.name.indexOf("::") + 2) : test.name;
    const row = el("details", { class: "test " + test.outcome, id: "t" + number, "data-n": String(number) },
      el("summary", {},
        el("span", { class: "mark " + test.outcome }, test.outcome),
        el("span", { class: "name" }, name),
        el("span", { class: "num calls" }, test.calls ? test.calls + (test.calls === 1 ? " call" : " calls") + ", " + test.assertions + (test.assertions === 1 ? " assertion" : " assertions") : ""),
        el("span", { class: "num took" }, test.took ? time(test.took) : "")));
    lazily(row, () => { fill(number); });
    rows[number] = { row, test, text: [test.name, test.failure || "", test.origin || "", test.words].join("\n").toLowerCase() };
    return row;
  }

  async function jump(anchor) {
    const number = /^t(\d+)/.exec(anchor);
    const row = number && byId("t" + number[1]);
    if (!row) return;
    if (row.hidden) { chosen = ""; search.value = ""; filter(); }
    row.open = true;
    const filled = fill(Number(number[1]));
    if (filled) await filled;
    const target = byId(anchor) || row;
    if (target.tagName === "DETAILS") target.open = true;
    document.querySelectorAll(".flash").forEach((e) => e.classList.remove("flash"));
    if (target !== row) target.classList.add("flash");
    target.scrollIntoView({ block: target === row ? "start" : "center" });
    (target.querySelector("summary") || target).focus({ preventScroll: true });
    history.replaceState(null, "", "#" + anchor);
  }

  function head() {
    const facts = [
      ["", `${index.tests.length} ${index.tests.length === 1 ? "test" : "tests"}`], ["took", time(index.took)],
      ["engine", index.engine], ["started", index.started], ...Object.entries(index.facts)];
    byId("head").append(
      el("h1", {}, index.title),
      el("div", { class: "facts" }, facts.filter(([, value]) => value).map(([name, value]) => el("span", {}, name && name + " ", el("b", {}, value)))),
      el("div", { class: "share", role: "img", "aria-label": outcomes.map((o) => counts.get(o) + " " + o).join(", ") },
        outcomes.map((o) => { const part = el("span", { class: o, title: counts.get(o) + " " + o }); part.style.flexGrow = counts.get(o); return part; })));
  }

  let chosen = "";
  const search = el("input", { type: "search", id: "search", placeholder: "Filter by test, failure or object", "aria-label": "Filter by test, failure or object", autocomplete: "off", spellcheck: "false" });
  const shownCount = el("span", { class: "count", role: "status" });

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let visible = 0;
    for (const { row, test, text } of rows) {
      row.hidden = (chosen !== "" && test.outcome !== chosen) || !words.every((word) => text.includes(word));
      if (!row.hidden) visible++;
    }
    for (const group of document.querySelectorAll("section.file")) {
      const inside = [...group.querySelectorAll(":scope > .test")];
      const there = inside.filter((row) => !row.hidden);
      group.hidden = !there.length;
      inside.forEach((row) => { row.classList.toggle("first", row === there[0]); row.classList.toggle("last", row === there[there.length - 1]); });
    }
    byId("failures").hidden = chosen !== "" && !isFailed(chosen);
    for (const item of document.querySelectorAll(".fail-item")) item.hidden = byId("t" + item.dataset.n).hidden;
    byId("none").hidden = visible > 0;
    shownCount.textContent = visible === rows.length ? "" : `${visible} of ${rows.length}`;
    for (const button of document.querySelectorAll("#tools button[data-outcome]")) {
      button.setAttribute("aria-pressed", String(button.dataset.outcome === chosen));
    }
  }

  function tools() {
    const button = (outcome, label, n) => el("button", { type: "button", "data-outcome": outcome, "aria-pressed": "false", onclick: () => { chosen = outcome; filter(); } },
      label, el("span", { class: "n" }, String(n)));
    byId("tools").append(button("", "All", index.tests.length), ...outcomes.map((o) => button(o, o[0].toUpperCase() + o.slice(1), counts.get(o))), search, shownCount);
    search.addEventListener("input", filter);
  }

  function lists() {
    const failed = index.tests.map((test, n) => [test, n]).filter(([test]) => isFailed(test.outcome));
    if (failed.length) {
      byId("failures").append(el("h2", {}, failed.length === 1 ? "1 failure" : failed.length + " failures"),
        ...failed.map(([test, n]) => el("a", { class: "fail-item", href: "#t" + n, "data-n": String(n), onclick: (event) => { event.preventDefault(); jump("t" + n); } },
          el("div", {}, test.name), test.failure && el("div", { class: "mono" }, test.failure), test.origin && el("div", { class: "from" }, "from " + test.origin))));
    }
    const groups = new Map();
    index.tests.forEach((test, n) => {
      const file = test.name.includes("::") ? test.name.slice(0, test.name.indexOf("::")) : "";
      if (!groups.has(file)) groups.set(file, []);
      groups.get(file).push([test, n]);
    });
    for (const [file, tests] of groups) {
      byId("tests").append(el("section", { class: "file" },
        el("h2", { class: "group" }, file || "Tests", el("span", { class: "n" }, time(tests.reduce((sum, [test]) => sum + test.took, 0)))),
        tests.map(([test, n]) => testRow(test, n))));
    }
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === search) {
      if (event.key === "Escape") { search.value = ""; filter(); search.blur(); }
      return;
    }
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    if (event.key === "n" || event.key === "p") {
      const failed = rows.filter(({ row, test }) => isFailed(test.outcome) && !row.hidden);
      if (!failed.length) return;
      const at = failed.findIndex(({ row }) => row.id === current);
      const next = at < 0 ? (event.key === "n" ? 0 : failed.length - 1) : (at + (event.key === "n" ? 1 : failed.length - 1)) % failed.length;
      current = failed[next].row.id;
      jump(current);
    }
  }

  let current = "";
  head();
  tools();
  lists();
  filter();
  byId("foot").append(el("kbd", {}, "/"), " filter  ", el("kbd", {}, "n"), " ", el("kbd", {}, "p"), " next and previous failure");
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => jump(location.hash.slice(1)));
  // On paper what failed is open.
  window.addEventListener("beforeprint", () => {
    rows.forEach(({ row, test }, number) => {
      if (isFailed(test.outcome) && !row.hidden) { row.open = true; fill(number); }
    });
  });
  // Nobody waits for it before it is printed: those are unpacked beforehand.
  rows.filter(({ test }) => isFailed(test.outcome)).slice(0, 50).forEach(({ row }) => load(Number(row.dataset.n)));
  if (location.hash) jump(location.hash.slice(1));
})();
