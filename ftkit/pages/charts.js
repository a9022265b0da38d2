/* Line charts of training metrics, with uPlot.

   ftkitChart(root, data) draws a chart with its controls into `root`, and returns it:
     data.series   [{ name, x: [...], y: [...], tone: "a" | "b" | ... , group }]
     data.x        { label, perEpoch }   steps per epoch, or null
     data.y        label
   chart.update(data) replaces the values; the zoom and the choices of the reader are kept. */
'use strict';
const ftkitChart = (() => {
  const TONES = ['--a', '--b', '--good', '--bad', '--warn', '--muted'];
  const DASHES = [[], [6, 3], [2, 3]];

  const colour = name => {
    const probe = document.createElement('span');
    probe.style.color = `var(${name})`;
    probe.hidden = true;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };

  /* An exponential moving average, corrected for its beginning. */
  const smooth = (values, weight) => {
    let last = 0, total = 0;
    return values.map(value => {
      if (value == null || !weight) return value;
      last = last * weight + (1 - weight) * value;
      total = total * weight + (1 - weight);
      return last / total;
    });
  };

  const number = value => value == null ? '–' : Number(value.toPrecision(4)).toString();

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  class Chart {
    constructor(root, data) {
      this.root = root;
      this.data = data;
      this.hidden = new Set();
      this.box = element('div', { className: 'plot' });
      this.box.setAttribute('role', 'img');
      this.controls = this.makeControls();
      root.replaceChildren(this.controls, this.box);
      this.draw();
      new ResizeObserver(() => this.plot?.setSize(this.extent())).observe(root);
      matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    }

    makeControls() {
      const redraw = () => this.draw();
      this.weight = element('input', { type: 'range', min: 0, max: 0.99, step: 0.01, value: 0, oninput: redraw });
      this.log = element('input', { type: 'checkbox', oninput: redraw });
      this.epochs = element('input', { type: 'checkbox', oninput: redraw });
      this.reset = element('button', { type: 'button', textContent: 'Reset zoom', onclick: redraw });
      const epochs = element('label', {}, this.epochs, 'Epochs');
      epochs.hidden = !this.data.x.perEpoch;
      return element('div', { className: 'controls' },
        element('label', {}, 'Smoothing', this.weight),
        element('label', {}, this.log, 'Log scale'), epochs, this.reset);
    }

    extent() {
      const width = Math.max(this.root.clientWidth, 200);
      return { width, height: Math.round(Math.min(Math.max(width * 0.42, 240), 440)) };
    }

    columns() {
      const xs = [...new Set(this.data.series.flatMap(series => series.x))].sort((a, b) => a - b);
      const index = new Map(xs.map((x, place) => [x, place]));
      const columns = this.data.series.map(({ x, y }) => {
        const column = new Array(xs.length).fill(null);
        const values = smooth(y, Number(this.weight.value));
        x.forEach((step, place) => {
          const value = values[place];
          column[index.get(step)] = value == null || (this.log.checked && value <= 0) ? null : value;
        });
        return column;
      });
      const unit = this.epochs.checked ? this.data.x.perEpoch : 1;
      return [xs.map(x => x / unit), ...columns];
    }

    draw() {
      this.plot?.destroy();
      const grid = { stroke: colour('--line'), width: 1 }, muted = colour('--muted');
      const xLabel = this.epochs.checked ? 'epoch' : this.data.x.label;
      const axis = label => ({ label, stroke: muted, grid, ticks: grid, labelGap: 4, font: '12px system-ui', labelFont: '12px system-ui' });
      const series = this.data.series.map(({ name, x, run = 0, tone }, place) => ({
        label: name, spanGaps: true, width: 2, show: !this.hidden.has(name),
        stroke: colour(tone ? `--${tone}` : TONES[place % TONES.length]), dash: DASHES[run % DASHES.length],
        points: { show: x.length < 60, size: 5 }, value: (plot, value) => number(value),
      }));
      const options = {
        ...this.extent(),
        scales: { x: { time: false }, y: { distr: this.log.checked ? 3 : 1 } },
        axes: [{ ...axis(xLabel), space: 44 }, { ...axis(this.data.y), size: 64, values: (plot, ticks) => ticks.map(tick => tick == null ? '' : number(tick)) }],
        series: [{ label: xLabel, value: (plot, value) => number(value) }, ...series],
        cursor: { focus: { prox: 24 }, drag: { x: true, y: false } },
        hooks: { setSeries: [(plot, place, { show }) => {
          if (place && show != null) this.hidden[show ? 'delete' : 'add'](plot.series[place].label);
        }] },
      };
      this.box.setAttribute('aria-label', `${this.data.y} by ${xLabel}: ${this.data.series.map(({ name }) => name).join(', ')}`);
      this.plot = new uPlot(options, this.columns(), this.box);
    }

    update(data) {
      const names = ({ series }) => JSON.stringify(series.map(({ name }) => name));
      const isSame = names(data) === names(this.data), { min, max } = this.plot.scales.x;
      const zoom = this.isZoomed() ? { min, max } : null;
      this.data = data;
      this.epochs.parentElement.hidden = !data.x.perEpoch;
      if (isSame) this.plot.setData(this.columns(), !zoom);
      else this.draw();
      if (zoom) this.plot.setScale('x', zoom);
    }

    isZoomed() {
      const { min, max } = this.plot.scales.x, xs = this.plot.data[0];
      return xs.length > 0 && (min > xs[0] || max < xs[xs.length - 1]);
    }
  }

  for (const root of document.querySelectorAll('[data-chart]')) {
    const data = JSON.parse(document.getElementById(root.dataset.chart).textContent);
    new Chart(root, data);
  }
  return (root, data) => new Chart(root, data);
})();
