// Starts the page: exchanges the code, shows the view that the address names, and follows the changes of the node.

import { enter, follow, listen, live, lock, peerRate, rights } from './api.js';
import { fill, h } from './dom.js';
import { failure, say } from './parts.js';
import { count, rate } from './words.js';
import * as find from './find.js';
import * as health from './health.js';
import * as model from './model.js';
import * as models from './models.js';
import * as node from './node.js';
import * as peers from './peers.js';
import * as transfers from './transfers.js';
import * as trust from './trust.js';

const VIEWS = {
    models: ['Models', models],
    model: ['Model', model],
    transfers: ['Transfers', transfers],
    peers: ['Peers', peers],
    find: ['Find', find],
    trust: ['Trust', trust],
    health: ['Health', health],
    node: ['Node', node],
};

const main = document.getElementById('main');
let leave = () => {};
let first = true;

/** Reads `#/view/argument?query`. */
function route() {
    const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
    const [name, ...rest] = path.split('/');
    let argument = '';
    try {
        argument = decodeURIComponent(rest.join('/'));
    } catch {
        // It is no text: no model has that name.
    }
    return { name: name in VIEWS ? name : 'models', argument, query: new URLSearchParams(query) };
}

function show() {
    if (location.hash === '#main') {
        return;
    }
    const { name, argument, query } = route();
    leave();
    document.querySelectorAll('dialog').forEach((it) => it.close());
    const [title, view] = VIEWS[name];
    document.title = `${argument || title} · reg`;
    for (const link of document.querySelectorAll('#views a')) {
        const view = link.getAttribute('href').slice(2);
        const isCurrent = view === name || (view === 'models' && name === 'model');
        link.removeAttribute('aria-current');
        if (isCurrent) {
            link.setAttribute('aria-current', view === name ? 'page' : 'true');
            // Not by `scrollIntoView`, which would move the place from which the next Tab goes on.
            link.closest('ul').scrollLeft = link.offsetLeft - 40;
        }
    }
    const ends = [];
    const on = (kind, listener) => ends.push(listen((it) => it === kind && listener()));
    main.replaceChildren();
    const end = view.show(main, { argument, query, on });
    leave = () => {
        ends.forEach((it) => it());
        end?.();
    };
    if (!first) {
        window.scrollTo(0, 0);
        main.focus({ preventScroll: true });
    }
    first = false;
}

const figures = document.getElementById('figures');

function drawFigures() {
    if (live.online === false) {
        fill(figures, h('li', { class: 'off' }, 'The node does not answer; trying again'));
        return;
    }
    if (!live.status) {
        return;
    }
    const down = live.transfers.reduce((sum, it) => sum + it.rate, 0);
    const up = [...live.peers.values()].reduce((sum, it) => sum + peerRate(it, 'up'), 0);
    fill(
        figures,
        h('li', { title: 'Fetched now' }, h('span', { class: 'unseen' }, 'Fetching '), `↓ ${rate(down)}`),
        h('li', { title: 'Sent to peers now' }, h('span', { class: 'unseen' }, 'Sending '), `↑ ${rate(up)}`),
        h('li', null, count(live.status.peers, 'peer')),
        live.status.paused ? h('li', { class: 'off' }, 'paused') : null,
    );
}

function drawRights() {
    const root = document.getElementById('rights');
    if (!rights.owner) {
        fill(root, h('span', { class: 'badge', title: 'Open it with `reg page` to change things' }, 'only shows'));
        return;
    }
    const button = h('button', { type: 'button', class: 'plain', title: 'Give the right to change things back' }, 'Lock');
    button.addEventListener('click', async () => {
        await lock().catch(() => {});
        drawRights();
        show();
        say('This tab only shows from now on.', 'reg page');
    });
    fill(root, button);
}

document.getElementById('skip').addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
});
window.addEventListener('hashchange', async () => {
    if (location.hash.startsWith('#code=')) {
        await begin();
    } else {
        show();
    }
});

async function begin() {
    try {
        const refused = await enter();
        drawRights();
        show();
        if (refused) {
            say(`This tab only shows: ${refused.message}.`, 'reg page');
        }
    } catch (error) {
        fill(main, h('h1', null, 'reg'), failure(error), h('p', null, 'Is the node running? Load the page again once it is.'));
    }
}

await begin();
for (const kind of ['status', 'peers', 'transfers', 'online']) {
    listen((it) => it === kind && drawFigures());
}
follow();
