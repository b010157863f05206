"use strict";
// Draws a plot when it comes near the window, in the colours of the style sheet, and anew when those
// change: another scheme, or paper. Without scripts the page's tables and words remain.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const places = [...document.querySelectorAll("[data-plot]")];
  const paper = { wide: 660, half: 318, height: 0.8 }; // pixels across a printed page; plots are lower
  const coarse = matchMedia("(pointer: coarse)").matches;
  let printing = false;

  // "--one" or "--one/0.2" becomes the colour of that name
  const coloured = (value, style) => {
    if (typeof value === "string" && value.startsWith("--")) {
      const [name, alpha] = value.split("/");
      const channels = style.getPropertyValue(name).trim().split(/\s+/).join(",");
      return `rgba(${channels},${alpha ?? 1})`;
    }
    if (Array.isArray(value)) return value.map((each) => coloured(each, style));
    if (value && typeof value === "object") {
      if ("bdata" in value) return value;
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, style)]));
    }
    return value;
  };

  const merged = (one, two) => {
    const made = { ...one };
    for (const [key, value] of Object.entries(two)) {
      const both = made[key] && typeof made[key] === "object" && !Array.isArray(value) && value && typeof value === "object";
      made[key] = both ? merged(made[key], value) : value;
    }
    return made;
  };

  // a narrow window has no room for the words beside a colour bar
  const traces = (plot, width) => (width >= 480 || printing ? plot.data : plot.data.map((trace) => (
    trace.colorbar ? { ...trace, colorbar: { ...trace.colorbar, title: undefined, thickness: 8 } } : trace
  )));

  const layout = (plot, width, height) => {
    const axis = {
      gridcolor: "--grid", zeroline: false, linecolor: "--grid", automargin: true,
      tickfont: { size: 11 }, title: { font: { size: 12 }, standoff: 8 },
    };
    const base = {
      width, height, autosize: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 12, color: "--words" },
      margin: { l: 48, r: 12, t: plot.layout.annotations?.length ? 24 : 8, b: 40 },
      hoverlabel: { bgcolor: "--hover", bordercolor: "--grid", font: { color: "--words" } },
      hovermode: "x unified", dragmode: coarse ? false : "zoom",
      legend: { orientation: "h", traceorder: "normal", x: 0, y: -52 / Math.max(60, height - 110), yanchor: "top", font: { size: 12 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "--words/0.5", activecolor: "--words" },
    };
    const made = merged(base, plot.layout);
    for (const key of new Set([...Object.keys(made), "xaxis", "yaxis"])) {
      if (/^[xy]axis\d*$/.test(key)) made[key] = merged(axis, made[key] ?? {});
    }
    if (width < 480) {
      made.margin = { ...made.margin, l: Math.min(made.margin.l, 40), r: 6 };
      for (const note of made.annotations ?? []) note.font = { ...note.font, size: 9 };
    }
    return made;
  };

  // the library offers to upload a plot to its maker's cloud: not from here
  const config = {
    showSendToCloud: false, plotlyServerURL: "", displaylogo: false, displayModeBar: coarse ? false : "hover", scrollZoom: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], doubleClick: "reset",
  };

  const draw = (place) => {
    const plot = plots[Number(place.dataset.plot)];
    const style = getComputedStyle(document.documentElement);
    const half = place.closest(".pairs") !== null;
    const width = printing ? (half ? paper.half : paper.wide) : Math.floor(place.getBoundingClientRect().width);
    if (width <= 0) return;
    const height = Math.round(plot.height * (printing ? paper.height : 1));
    place.dataset.drawn = "";
    place.style.height = `${height}px`;
    Plotly.react(place, coloured(traces(plot, width), style), coloured(layout(plot, width, height), style), config);
    // its words are in the label; single numbers of axes would be read out one by one
    for (const part of place.querySelectorAll("svg.main-svg")) part.setAttribute("aria-hidden", "true");
  };
  const drawn = () => places.filter((place) => "drawn" in place.dataset);

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px 0px" });
  places.forEach((place) => near.observe(place));

  let waiting = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      if (printing) return;
      for (const place of drawn()) {
        if (Math.abs(place.getBoundingClientRect().width - (place._fullLayout?.width ?? 0)) >= 1) draw(place);
      }
    });
  }).observe(document.body);

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (!printing) drawn().forEach(draw); });
  const print = (yes) => {
    if (printing === yes) return;
    printing = yes;
    // the style sheet's rules for paper come into force only after this
    document.documentElement.classList.toggle("paper", yes);
    for (const part of document.querySelectorAll(".rules details")) {
      if (yes) part.dataset.open = part.open;
      part.open = yes || part.dataset.open === "true";
    }
    (yes ? places : drawn()).forEach(draw);
  };
  matchMedia("print").addEventListener("change", (event) => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  for (const select of document.querySelectorAll(".menu select")) {
    const figure = select.closest("figure");
    const place = figure.querySelector("[data-plot]");
    select.addEventListener("change", () => {
      const chosen = select.selectedOptions[0];
      place.dataset.plot = select.value;
      place.setAttribute("aria-label", `${chosen.dataset.title}. ${chosen.dataset.told}`);
      figure.querySelector("figcaption b").textContent = chosen.dataset.title;
      figure.querySelector("figcaption span").textContent = chosen.dataset.told;
      draw(place);
    });
  }

  // a link to what is folded unfolds it
  const unfold = () => {
    let part = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
