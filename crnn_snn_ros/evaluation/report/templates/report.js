"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = [...document.querySelectorAll(".plot")];
  const narrow = window.matchMedia("(max-width: 600px)").matches;

  // What follows light or dark: text, grids, and the lines marked "ink".
  function dress(plot) {
    const theme = { "font.color": css("--ink"), "legend.bgcolor": "rgba(0,0,0,0)" };
    for (const key of Object.keys(plot.layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        theme[`${key}.gridcolor`] = css("--line");
        theme[`${key}.linecolor`] = css("--line");
        theme[`${key}.zerolinecolor`] = css("--soft");
      }
    }
    const inked = plot.data.map((trace, i) => (trace.meta === "ink" ? i : -1)).filter((i) => i >= 0);
    const style = { "line.color": css("--ink"), "marker.color": css("--ink") };
    const hover = { "hoverlabel.bgcolor": css("--raised"), "hoverlabel.font.color": css("--ink") };
    return Plotly.update(plot, inked.length ? style : {}, { ...theme, ...hover }, inked);
  }

  async function draw(plot) {
    const part = JSON.parse(document.getElementById(`${plot.id}-data`).textContent);
    if (narrow) {
      part.layout.dragmode = false; // a finger scrolls the page
      if (part.layout.yaxis?.scaleanchor) { // a map is as high as its width asks for
        const [x, y] = [part.layout.xaxis.range, part.layout.yaxis.range];
        const height = 130 + ((plot.clientWidth - 60) * (y[1] - y[0])) / (x[1] - x[0]);
        part.layout.height = height;
        plot.style.height = `${height}px`;
      }
    }
    const config = { responsive: true, displayModeBar: false };
    await Plotly.newPlot(plot, part.data, part.layout, config);
    plot.fixedShapes = plot.layout.shapes || [];
    plot.whole = plot.layout.xaxis && [...plot.layout.xaxis.range];
    await dress(plot);
  }

  const all = () => Promise.all(plots.map(dress));

  function zoom(plot, factor) {
    if (factor === 0) return Plotly.relayout(plot, { "xaxis.range": [...plot.whole] });
    const [from, to] = plot.layout.xaxis.range;
    const middle = (from + to) / 2;
    const half = Math.min(((to - from) / 2) * factor, (plot.whole[1] - plot.whole[0]) / 2);
    return Plotly.relayout(plot, { "xaxis.range": [middle - half, middle + half] });
  }

  // A line at a moment in the traces, and a mark at the same moment in the map that belongs to it.
  async function jump(plot, time) {
    const cursor = {
      type: "line", xref: "x", yref: "paper", x0: time, x1: time, y0: 0, y1: 1,
      line: { color: css("--cursor"), width: 2, dash: "dot" },
    };
    const span = Math.min(4, (plot.whole[1] - plot.whole[0]) / 2);
    await Plotly.relayout(plot, {
      "xaxis.range": [time - span, time + span],
      shapes: [...plot.fixedShapes, cursor],
    });
    plot.dataset.at = time;
    const map = document.getElementById(`${plot.id}-map`);
    if (map) markMap(map, time);
    (map || plot).scrollIntoView({ block: map ? "start" : "center" });
  }

  function markMap(map, time) {
    const path = map.data.find((trace) => trace.name === "path");
    const times = path.customdata;
    let best = 0;
    for (let i = 1; i < times.length; i += 1) {
      if (Math.abs(times[i] - time) < Math.abs(times[best] - time)) best = i;
    }
    const here = map.data.findIndex((trace) => trace.name === "here");
    Plotly.restyle(map, { x: [[path.x[best]]], y: [[path.y[best]]], visible: true }, [here]);
    map.dataset.at = times[best];
  }

  function choose(box) {
    const plot = document.getElementById(box.dataset.choose);
    const [frame, layer] = [...box.querySelectorAll("select")].map((s) => Number(s.value));
    const layers = box.querySelector("[name=layer]").options.length;
    const shown = plot.data.map((_, i) => i === frame * layers + layer);
    return Plotly.restyle(plot, { visible: shown });
  }

  for (const button of document.querySelectorAll("[data-jump]")) {
    const plot = document.getElementById(button.dataset.plot);
    button.addEventListener("click", () => jump(plot, Number(button.dataset.jump)));
  }
  for (const button of document.querySelectorAll("[data-zoom]")) {
    const plot = document.getElementById(button.dataset.plot);
    button.addEventListener("click", () => zoom(plot, Number(button.dataset.zoom)));
  }
  for (const box of document.querySelectorAll("[data-choose]")) {
    box.addEventListener("change", () => choose(box));
  }
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    window.matchMedia(query).addEventListener("change", all);
  }
  window.addEventListener("beforeprint", () => {
    for (const plot of plots) Plotly.Plots.resize(plot);
  });
  Promise.all(plots.map(draw)).then(() => { document.documentElement.dataset.ready = "true"; });
})();
