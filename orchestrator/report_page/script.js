"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Tables: a header sorts its column, a form hides rows.

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    if (!text) return null;
    if (cell.dataset.value === undefined) return text;
    const number = Number(cell.dataset.value);
    return Number.isNaN(number) ? cell.dataset.value : number;
  };

  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number"
      ? one - other
      : String(one).localeCompare(String(other), "en", { numeric: true });

  const sort = (table, header, column) => {
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    const body = table.tBodies[0];
    const keyed = Array.from(body.rows, (row, place) => [valueOf(row, column), place, row]);
    keyed.sort(([one, first], [other, second]) => {
      if (one === null || other === null) return (one === null) - (other === null) || first - second;
      return (ascending ? compare(one, other) : compare(other, one)) || first - second;
    });
    body.append(...keyed.map(([, , row]) => row));
    for (const cell of table.tHead.rows[0].cells) cell.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      button.addEventListener("click", () => sort(table, header, column));
      header.replaceChildren(button);
      header.setAttribute("aria-sort", "none");
    });
  }

  for (const form of document.querySelectorAll("form.filter")) {
    const part = (name) => form.querySelector(`[data-filter="${name}"]`);
    const rows = Array.from(form.parentElement.querySelectorAll("tbody tr"));
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const apply = () => {
      const wanted = part("text").value.trim().toLowerCase();
      const state = part("state").value;
      let shown = 0;
      for (const row of rows) {
        const kept = (!state || row.dataset.state === state) && texts.get(row).includes(wanted);
        row.hidden = !kept;
        shown += kept;
      }
      part("count").textContent = `${shown} of ${rows.length} trials`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  // Pictures: a click shows one in the whole width.

  for (const image of document.querySelectorAll("figure.page img")) {
    const figure = image.closest("figure");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => {
      button.setAttribute("aria-expanded", String(figure.classList.toggle("large")));
    });
  }

  // Charts: drawn when they come into view, all of them for a printer.

  const charts = Array.from(document.querySelectorAll("[data-chart]"));
  const drawn = new Set();
  let printing = false;

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const one = (name) => style.getPropertyValue(name).trim();
    return printing
      ? { ink: "#000000", grid: "#dddddd", paper: "#ffffff" }
      : { ink: one("--ink"), grid: one("--grid"), paper: one("--paper") };
  };

  const themed = (layout) => {
    const { ink, grid, paper } = colours();
    const changes = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      "font.color": ink,
      "legend.bgcolor": "rgba(0,0,0,0)",
      "hoverlabel.bgcolor": paper,
      "hoverlabel.font.color": ink,
    };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        for (const line of ["gridcolor", "linecolor", "zerolinecolor"]) changes[`${key}.${line}`] = grid;
      }
    }
    return changes;
  };

  const draw = (chart) => {
    if (drawn.has(chart)) return;
    drawn.add(chart);
    const { data, layout } = JSON.parse(document.getElementById(chart.dataset.chart).textContent);
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) layout[key].automargin = true;
    }
    const base = {
      font: { family: "system-ui, sans-serif", size: 13 },
      margin: { l: 12, r: 12, t: 12, b: 12 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      hovermode: "closest",
    };
    const full = { ...base, ...layout, autosize: true };
    for (const [path, value] of Object.entries(themed(full))) {
      const names = path.split(".");
      const last = names.pop();
      let place = full;
      for (const name of names) place = place[name] ??= {};
      place[last] = value;
    }
    const options = { displayModeBar: false, responsive: true, scrollZoom: false };
    Plotly.newPlot(chart, data, full, options).then(() => { chart.dataset.drawn = "true"; });
  };

  const recolour = () => {
    for (const chart of drawn) Plotly.relayout(chart, themed(chart.layout));
  };

  const printed = (now) => {
    printing = now;
    if (now) charts.forEach(draw);
    recolour();
    for (const chart of drawn) Plotly.Plots.resize(chart);
  };

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        draw(entry.target);
      }
    },
    { rootMargin: "200px" },
  );
  charts.forEach((chart) => near.observe(chart));
  dark.addEventListener("change", recolour);
  addEventListener("beforeprint", () => printed(true));
  addEventListener("afterprint", () => printed(false));
})();
