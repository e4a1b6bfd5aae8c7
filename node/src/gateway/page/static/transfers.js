// The transfers that run: how far each is, from which sources, and why it is not faster.

import { live, peerRate } from './api.js';
import { act } from './change.js';
import { fill, h, set } from './dom.js';
import { badge, empty, head, meter, modelLink, terminal } from './parts.js';
import { pieces, sourceName } from './pieces.js';
import { count, percent, quoted, rate, reference, size, span } from './words.js';

const PRIORITIES = [['low', 'Low'], ['normal', 'Normal'], ['high', 'High']];

/** Returns the transfers of a model. */
export const of = (model) =>
    live.transfers.filter((it) => [it.publisher, it.petname].includes(model.publisher) && it.model.toLowerCase() === model.model.toLowerCase());

function how(source) {
    if (source.web) {
        return 'web seed';
    }
    const peer = live.peers.get(source.peer);
    if (!peer) {
        return 'not connected now';
    }
    const far = peer.rtt_ms === null || peer.rtt_ms === undefined ? null : `${peer.rtt_ms} ms away`;
    const lane = peer.lanes ? count(peer.lanes, 'lane') : 'stream';
    return [far, lane, rate(peerRate(peer, 'down'))].filter(Boolean).join(', ');
}

function why(transfer) {
    const { reason } = transfer;
    const times = transfer.sources
        .map((it) => it.peer && live.peers.get(it.peer)?.rtt_ms)
        .filter((it) => Number.isFinite(it));
    const nearest = times.length ? Math.min(...times) : null;
    const far = reason.code === 'sources' && nearest !== null && nearest >= 40 ? `; the nearest answers after ${nearest} ms` : '';
    return `${reason.text}${far}`;
}

function controls(transfer) {
    const name = reference(transfer);
    const body = { reference: name };
    const word = quoted(name);
    const one = transfer.paused
        ? act({ text: 'Resume', path: '/v1/resume', body, command: `reg resume ${word}`, done: `Resumed ${name}`, key: `pause ${name}`, label: `Resume ${name}` })
        : act({ text: 'Pause', path: '/v1/pause', body, command: `reg pause ${word}`, done: `Paused ${name}`, key: `pause ${name}`, label: `Pause ${name}` });
    if (transfer.read) {
        return [one];
    }
    const priority = PRIORITIES.map(([value, text]) =>
        transfer.priority === value
            ? null
            : act({
                  text: `${text} priority`, path: '/v1/transfers/priority', body: { ...body, priority: value }, kind: 'plain',
                  command: `reg pull ${word} --priority ${value}`, done: `${name} has ${value} priority`, key: `${value} ${name}`,
              }),
    );
    const cancel = act({
        text: 'Cancel', path: '/v1/transfers/cancel', body, command: 'Ctrl-C in the terminal of the pull', kind: 'plain danger',
        done: `Cancelled ${name}; what was fetched is kept`, key: `cancel ${name}`, label: `Cancel ${name}`,
    });
    return [one, priority, cancel];
}

/** Shows one transfer, and changes with it. */
export function card(first, isOpen) {
    const view = pieces(first.manifest);
    const top = h('div', { class: 'card-top' });
    const bar = h('div');
    const figures = h('p', { class: 'figures-line' });
    const reason = h('p', { class: 'reason' });
    const sources = h('ul', { class: 'sources' });
    const buttons = h('div', { class: 'buttons' });
    const details = h('details', { open: Boolean(isOpen) }, h('summary', null, 'Pieces and sources'), view.root, sources);
    const root = h('article', { class: 'card', 'data-manifest': first.manifest }, top, bar, figures, reason, buttons, details);
    let state = '';
    let looked = 0;
    const update = (transfer) => {
        const { done, total } = transfer;
        const key = `${transfer.paused} ${transfer.priority} ${transfer.read}`;
        if (key !== state) {
            state = key;
            fill(top, h('h2', null, modelLink(transfer), ' ', transfer.tag ? h('span', { class: 'tag' }, transfer.tag) : null),
                transfer.paused ? badge('paused', 'warn') : null,
                transfer.read ? badge('read by a client', '') : badge(`${transfer.priority} priority`, ''));
            fill(buttons, controls(transfer));
        }
        fill(bar, meter(done, total, `Progress of ${reference(transfer)}`));
        const left = transfer.rate > 0 && total > done ? `, about ${span((total - done) / transfer.rate)} left` : '';
        figures.textContent = `${percent(done, total)} %: ${size(done)} of ${size(total)}, ${rate(transfer.rate)}${left}`;
        const isFine = transfer.reason.code === 'placing' || transfer.reason.code === 'preparing';
        set(reason, { 'data-reason': transfer.reason.code });
        fill(reason, h('strong', null, isFine ? 'Now: ' : 'Why it is not faster: '), `${why(transfer)}.`);
        const lines = transfer.sources.map((it) => {
            const share = h('span', { class: 'num' }, size(it.bytes));
            return h('li', null, h('code', { title: it.peer ?? it.web }, sourceName(it)), share, h('span', { class: 'quiet' }, how(it)));
        });
        if (transfer.more_sources) {
            lines.push(h('li', { class: 'quiet' }, `and ${count(transfer.more_sources, 'source')} more`));
        }
        fill(sources, lines);
        if (details.open && performance.now() - looked > 1500) {
            looked = performance.now();
            view.look();
        }
    };
    details.addEventListener('toggle', () => details.open && view.look());
    update(first);
    return { root, update, stop: view.stop };
}

/** A pull that a tab has begun, and that no download serves yet or any more. */
function begun(pull) {
    const name = pull.reference;
    const running = pull.ended === null;
    const stage = { finding: 'looks for peers and for what they have', resolving: 'verifies what its publisher has signed' }[pull.stage];
    return h(
        'article',
        { class: `card ${pull.error ? 'failed' : ''}` },
        h('div', { class: 'card-top' }, h('h2', null, h('a', { class: 'model', href: `#/model/${encodeURIComponent(name)}` }, name)),
            badge(pull.stage, pull.error ? 'bad' : running ? '' : 'good')),
        running ? h('p', { class: 'reason' }, h('strong', null, 'Now: '), `${stage ?? pull.stage}.`) : null,
        pull.error ? h('div', { class: 'failure' }, h('p', null, pull.error), pull.hint ? h('p', { class: 'hint' }, pull.hint) : null) : null,
        pull.note ? h('p', { class: 'quiet' }, pull.note) : null,
        h('div', { class: 'buttons' },
            running
                ? act({ text: 'Cancel', path: '/v1/transfers/cancel', body: { reference: name }, command: 'Ctrl-C in the terminal of the pull', done: `Cancelled ${name}`, kind: 'plain danger', key: `cancel ${pull.id}` })
                : act({ text: 'Dismiss', path: '/v1/page/dismiss', body: { id: pull.id }, command: `reg info ${quoted(name)}`, done: 'Dismissed', kind: 'plain', key: `dismiss ${pull.id}`, label: `Dismiss ${name}` }),
            pull.error ? act({ text: 'Try again', path: '/v1/page/pull', body: { reference: name }, command: `reg pull ${quoted(name)}`, done: `Pulling ${name}`, key: `again ${pull.id}` }) : null),
    );
}

/** Tells whether a transfer serves a pull. */
const serves = (pull) => {
    const name = pull.reference.split('@')[0];
    return live.transfers.some((it) => [it.publisher, it.petname].some((by) => name === `${by}/${it.model}` || name === `${by}/${it.model}:${it.tag}`));
};

export function show(root, { on }) {
    const cards = new Map();
    const list = h('div', { class: 'cards' });
    const others = h('div', { class: 'cards' });
    const none = h('div');
    const all = h('div', { class: 'buttons' });
    let paused = null;
    const update = () => {
        const seen = new Set();
        for (const transfer of live.transfers) {
            const key = `${transfer.manifest} ${transfer.read} ${reference(transfer)}`;
            seen.add(key);
            const known = cards.get(key);
            if (known) {
                known.update(transfer);
            } else {
                const made = card(transfer, live.transfers.length < 3);
                cards.set(key, made);
                list.append(made.root);
            }
        }
        for (const [key, made] of [...cards]) {
            if (!seen.has(key)) {
                made.stop();
                made.root.remove();
                cards.delete(key);
            }
        }
        const waiting = live.pulls.filter((it) => it.ended !== null || !serves(it)).reverse();
        const text = JSON.stringify(waiting);
        if (text !== others.dataset.shown) {
            others.dataset.shown = text;
            fill(others, waiting.map(begun));
        }
        const isEmpty = live.status !== null && !live.transfers.length && !waiting.length;
        if (String(isEmpty) !== none.dataset.shown) {
            none.dataset.shown = String(isEmpty);
            fill(none, isEmpty ? empty('Nothing is being fetched.', h('p', null, h('a', { href: '#/find' }, 'Find a model'), ' and pull it, or in a terminal:'), h('p', null, terminal('reg pull PUBLISHER/MODEL'))) : null);
        }
        if (paused !== live.status?.paused) {
            paused = live.status?.paused;
            fill(all, paused
                ? act({ text: 'Resume everything', path: '/v1/resume', body: {}, command: 'reg resume', done: 'Everything goes on', key: 'all' })
                : act({ text: 'Pause everything', path: '/v1/pause', body: {}, command: 'reg pause', done: 'Everything is paused: pulls, and what peers fetch here', key: 'all', kind: 'plain' }));
        }
    };
    fill(root, head('Transfers', all), none, list, others);
    update();
    ['transfers', 'pulls', 'peers', 'status'].forEach((kind) => on(kind, update));
    return () => cards.forEach((it) => it.stop());
}
