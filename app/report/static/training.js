(() => {
  "use strict";
  const PAUSE = 3000; // milliseconds between two questions, at least
  const DASHES = ["solid", "dash", "dot"];
  const config = { responsive: true, displayModeBar: false };
  const root = document.documentElement;
  const read = (from) => JSON.parse(from.getElementById("report-data").textContent);
  const all = (selector) => [...document.querySelectorAll(selector)];

  let page = read(document);
  let chosen = new Set(page.leading);
  let isOwnChoice = false; // else the domains that move most are chosen anew as the page goes on
  const looks = new Map(); // domain to number: a colour stays with its domain

  const look = (domain) => {
    if (!looks.has(domain)) {
      const taken = new Set(looks.values());
      let free = 0;
      while (taken.has(free)) free += 1;
      looks.set(domain, free);
    }
    const number = looks.get(domain);
    const dash = DASHES[Math.floor(number / page.palette.length) % DASHES.length];
    return { color: page.palette[number % page.palette.length], dash, width: 2 };
  };

  const text = (name) => name.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);

  const trace = (curve, chart) => ({
    x: curve.x,
    y: curve.y,
    name: text(curve.domain),
    mode: chart.shape === "linear" && curve.x.length <= 60 ? "lines+markers" : "lines",
    marker: { size: 4 },
    line: {
      shape: chart.shape,
      ...(chosen.has(curve.domain)
        ? look(curve.domain)
        : { color: "rgba(138,147,160,0.35)", width: 1 }),
    },
    hovertemplate: `%{fullData.name}<br>step %{x}: ${chart.shown}<extra></extra>`,
  });

  const draw = () => {
    for (const element of all("[data-chart]")) {
      const chart = page.charts[element.dataset.chart];
      const quietFirst = [...chart.curves].sort(
        (one, other) => chosen.has(one.domain) - chosen.has(other.domain),
      );
      Plotly.react(element, quietFirst.map((curve) => trace(curve, chart)), chart.layout, config);
    }
    for (const element of all("[data-timeline]")) {
      Plotly.react(element, page.timeline.data, page.timeline.layout, config);
    }
    document.getElementById("keys").replaceChildren(...[...chosen].map(key));
    for (const box of all("[data-domain]")) box.checked = chosen.has(box.dataset.domain);
  };

  const key = (domain) => {
    const [whole, swatch] = [document.createElement("span"), document.createElement("span")];
    const { color, dash } = look(domain);
    swatch.className = "key stroke";
    swatch.style.borderTop = `3px ${{ solid: "solid", dash: "dashed", dot: "dotted" }[dash]} ${color}`;
    whole.append(swatch, ` ${domain}`);
    return whole;
  };

  const choose = (domains) => {
    chosen = new Set(domains);
    for (const domain of looks.keys()) if (!chosen.has(domain)) looks.delete(domain);
    draw();
  };

  const drawn = () => page.charts["training-weights"].curves.map((curve) => curve.domain);

  document.addEventListener("change", ({ target }) => {
    const { domain } = target.dataset;
    if (domain === undefined) return;
    isOwnChoice = true;
    choose(target.checked ? [...chosen, domain] : [...chosen].filter((one) => one !== domain));
  });
  for (const button of all("[data-choose]")) {
    button.addEventListener("click", () => {
      isOwnChoice = button.dataset.choose !== "leading";
      choose({ leading: page.leading, all: drawn(), none: [] }[button.dataset.choose]);
    });
  }

  const tellTimes = () => {
    const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
    for (const element of all("time")) {
      const seconds = (new Date(element.dateTime) - Date.now()) / 1000;
      const [unit, size] =
        [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, one]) => -seconds >= one) ??
        ["second", 1];
      element.title ||= element.textContent;
      element.textContent = words.format(Math.trunc(seconds / size), unit);
    }
  };

  // Put what is new where the old was; nothing that the reader has opened, scrolled or chosen moves.
  const show = (fresh) => {
    const places = (from) =>
      [...from.querySelectorAll("[data-chart], [data-timeline]")].map((one) => one.dataset.chart);
    if (String(places(fresh)) !== String(places(document))) {
      location.reload(); // there is a picture that was not there
      return;
    }
    page = read(fresh);
    const focused = document.activeElement?.dataset.domain;
    for (const element of all("[data-live]")) {
      element.replaceChildren(...fresh.getElementById(element.id).childNodes);
    }
    if (!isOwnChoice) chosen = new Set(page.leading);
    choose(chosen);
    tellTimes();
    all("[data-domain]").find((box) => box.dataset.domain === focused)?.focus({ preventScroll: true });
    root.dataset.shown = page.tag;
  };

  const say = (words) => {
    const element = document.getElementById("watching");
    if (element.textContent !== words) element.textContent = words;
  };
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const untilSeen = async () => {
    while (document.hidden) {
      await new Promise((done) =>
        document.addEventListener("visibilitychange", done, { once: true }),
      );
    }
  };

  const ask = async () => {
    const answer = await fetch(location.href, {
      headers: { "If-None-Match": page.tag },
      cache: "no-store",
    });
    if (answer.status === 200) {
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
    return answer.status;
  };

  const watch = async () => {
    for (;;) {
      await untilSeen();
      const began = performance.now();
      let status = 0;
      try {
        status = await ask();
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // a TypeError says that nobody answered
      }
      const isGone = status >= 400 && status < 500 && status !== 429;
      if (isGone) {
        say(`No longer live: the server answers ${status}. Load the page again.`);
        return;
      }
      say(status === 200 || status === 304
        ? "Live: what is new appears by itself."
        : "The server does not answer; the page goes on asking.");
      await pause(Math.max(PAUSE, 10 * (performance.now() - began))); // large pages are asked for less
    }
  };

  const fit = () => all(".js-plotly-plot").forEach((element) => Plotly.Plots.resize(element));
  window.addEventListener("beforeprint", fit);
  window.addEventListener("afterprint", fit);
  draw();
  tellTimes();
  setInterval(tellTimes, 10000);
  root.dataset.drawn = "true";
  if (location.protocol.startsWith("http")) watch();
})();
