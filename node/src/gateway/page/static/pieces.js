// Draws which pieces of a model are here, each in the colour of the source that has sent it.

import { get } from './api.js';
import { fill, h } from './dom.js';
import { count, number, peer, percent } from './words.js';

const SOURCES = 8;
const GAP = 2;
/** The side of a square: few pieces are drawn larger. */
const side = (cells) => (cells < 150 ? 16 : cells < 600 ? 12 : 9);

/** Returns how a source is called: a peer by the end of its id, a web seed by its address. */
export const sourceName = (source) => (source.peer ? peer(source.peer) : source.web);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function fillOf(cell) {
    if (cell === -1) {
        return colour('--piece-none');
    }
    if (cell === -2) {
        return colour('--piece-part');
    }
    return colour(cell === 0 ? '--piece-here' : `--source-${((cell - 1) % SOURCES) + 1}`);
}

function draw(canvas, report, width) {
    const cellSide = side(report.cells.length);
    const step = cellSide + GAP;
    const columns = Math.max(1, Math.min(report.cells.length, Math.floor((width + GAP) / step)));
    const rows = Math.max(1, Math.ceil(report.cells.length / columns));
    const [w, hgt] = [columns * step - GAP, rows * step - GAP];
    const scale = window.devicePixelRatio || 1;
    canvas.width = w * scale;
    canvas.height = hgt * scale;
    canvas.style.width = `${w}px`;
    canvas.style.height = `${hgt}px`;
    const pen = canvas.getContext('2d');
    pen.scale(scale, scale);
    const colours = new Map();
    report.cells.forEach((cell, place) => {
        if (!colours.has(cell)) {
            colours.set(cell, fillOf(cell));
        }
        pen.fillStyle = colours.get(cell);
        const [x, y] = [(place % columns) * step, Math.floor(place / columns) * step];
        pen.beginPath();
        pen.roundRect(x, y, cellSide, cellSide, 2);
        pen.fill();
    });
}

function legend(report) {
    const counts = new Map();
    for (const cell of report.cells) {
        counts.set(cell, (counts.get(cell) ?? 0) + 1);
    }
    const entry = (cell, text) => {
        const swatch = h('span', { class: 'swatch', 'aria-hidden': 'true' });
        swatch.style.background = fillOf(cell);
        return h('li', null, swatch, `${text} (${percent(counts.get(cell), report.cells.length)} %)`);
    };
    const shown = report.sources.map((source, place) => [place + 1, `from ${sourceName(source)}`]);
    const all = [...shown, [0, 'here before'], [-2, 'in parts'], [-1, 'missing']];
    return h('ul', { class: 'legend' }, all.filter(([cell]) => counts.has(cell)).map(([cell, text]) => entry(cell, text)));
}

/** Shows the pieces of a model while it is fetched. `look` reads them again. */
export function pieces(manifest) {
    const canvas = h('canvas', { class: 'pieces', role: 'img', width: 8, height: 8 });
    const below = h('div');
    const root = h('div', { class: 'piece-view' }, h('p', { class: 'quiet' }, 'Asking which pieces are here…'));
    let report = null;
    const show = () => {
        if (!report) {
            return;
        }
        const each = report.pieces_per_cell > 1 ? `; a square stands for ${number(report.pieces_per_cell)} pieces` : '';
        const text = `${number(report.stored)} of ${count(report.pieces, 'piece')} of 1 MiB are here, each verified`;
        canvas.setAttribute('aria-label', text);
        fill(root, h('p', { class: 'quiet' }, `${text}${each}.`), canvas, fill(below, legend(report)));
        draw(canvas, report, root.clientWidth || 600);
    };
    const look = async () => {
        const found = await get('/v1/transfers/pieces', { manifest }).catch(() => null);
        if (found) {
            report = found;
            show();
        }
        return found;
    };
    const observer = new ResizeObserver(() => report && draw(canvas, report, root.clientWidth));
    observer.observe(root);
    const theme = matchMedia('(prefers-color-scheme: dark)');
    theme.addEventListener('change', show);
    look();
    const stop = () => {
        observer.disconnect();
        theme.removeEventListener('change', show);
    };
    return { root, look, stop };
}
