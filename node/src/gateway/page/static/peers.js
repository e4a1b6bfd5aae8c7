// The peers of this node: how each is reached, what carries its pieces, and what it sends.

import { get, live, peerRate, post } from './api.js';
import { asks } from './change.js';
import { fill, h } from './dom.js';
import { badge, empty, failure, field, head, id, table, terminal } from './parts.js';
import { ago, count, number, peer as ending, quoted, rate, reference, size } from './words.js';
import { share } from './offers.js';

const SHOWN_MAX = 200;
const UPDATE_MS = 1000;

const COLUMNS = [['Peer', ''], ['Reached', ''], ['Pieces go over', 'mid'], ['Wanted', 'mid'], ['From it', 'num'], ['To it', 'num']];

function reached(peer) {
    if (peer.outdated) {
        return badge('must be upgraded', 'bad', 'It speaks version 1 of the protocol only, and is not connected');
    }
    const relayed = peer.addresses.length && peer.addresses.every((it) => it.includes('/p2p-circuit'));
    const time = peer.rtt_ms === null || peer.rtt_ms === undefined ? '' : `, ${peer.rtt_ms} ms`;
    const way = relayed ? 'through a relay' : 'directly';
    const text = `${way}${peer.transport ? ` by ${peer.transport}` : ''}${time}`;
    return [h('span', { title: peer.addresses.join('\n') }, text), h('div', { class: 'narrow quiet' }, `pieces go over ${peer.lanes ? count(peer.lanes, 'lane') : 'its stream'}`)];
}

function carries(peer) {
    if (peer.lanes) {
        return [count(peer.lanes, 'lane'), h('div', { class: 'quiet' }, 'plain TLS, beside the swarm: faster')];
    }
    return ['stream', h('div', { class: 'quiet' }, peer.no_lane ? `no lane: ${peer.no_lane}` : 'no lane was needed yet')];
}

function wanted(peer) {
    const from = live.transfers.filter((it) => it.sources.some((source) => source.peer === peer.peer));
    return from.length ? from.map((it) => h('div', null, h('a', { href: '#/transfers', title: reference(it) }, it.model))) : h('span', { class: 'quiet' }, 'nothing now');
}

function traffic(peer, key, total) {
    const now = peerRate(peer, key);
    return [now > 0 ? h('strong', null, rate(now)) : null, h('div', { class: 'quiet' }, size(total))];
}

function remove(peer) {
    return {
        heading: 'Forget a peer',
        words: h('p', null, 'The node disconnects it, and dials it no more by itself. It may come back by other ways.'),
        yes: 'Forget it',
        kind: 'danger',
        make: () => ({
            command: `reg peers rm ${quoted(peer)}`,
            run: async () => {
                await post('/v1/peers/remove', { peer });
                return 'The peer is forgotten';
            },
        }),
    };
}

function addPeer() {
    return {
        heading: 'Add a peer',
        words: h('p', null, 'The node dials it now, and at every start.'),
        form: field('Address', h('input', { name: 'address', required: true, autocomplete: 'off', spellcheck: 'false', placeholder: '/ip4/192.0.2.7/tcp/4600' }), 'reg status on the other machine prints it'),
        yes: 'Add it',
        make: ({ address }) =>
            address
                ? {
                      command: `reg peers add ${quoted(address)}`,
                      run: async (tell) => {
                          tell('Dialling…');
                          const added = await post('/v1/peers/add', { address });
                          return added.connected ? 'The peer is connected' : `Kept, and not reached now: ${added.unreached ?? 'this node is offline'}`;
                      },
                  }
                : { why: 'Give an address.' },
    };
}

function row(it) {
    return [
        h('span', null, h('code', { class: 'whole', title: it.peer }, ending(it.peer)), it.agent ? h('div', { class: 'quiet' }, it.agent) : null),
        reached(it),
        carries(it),
        wanted(it),
        traffic(it, 'down', it.bytes_fetched),
        traffic(it, 'up', it.bytes_served),
    ];
}

export function show(root, { on }) {
    const list = h('div');
    const known = h('div');
    const opener = h('details', { class: 'section' }, h('summary', null, 'Remembered peers'), known);
    let timer = null;
    let isDrawn = false;
    const draw = () => {
        timer = null;
        if (!live.status) {
            fill(list, h('p', { class: 'quiet' }, 'Reading the list…'));
            return;
        }
        isDrawn = true;
        const all = [...live.peers.values()].sort((one, other) => other.bytes_fetched + other.bytes_served - one.bytes_fetched - one.bytes_served || one.peer.localeCompare(other.peer));
        if (!all.length) {
            fill(list, empty('No peer is connected.',
                h('p', null, 'In one network, nodes find each other by themselves. Else add one: ', h('code', null, 'reg status'), ' on the other machine prints its address.'),
                h('p', null, terminal('reg peers add ADDRESS'))));
            return;
        }
        const more = all.length > SHOWN_MAX ? h('p', { class: 'quiet' }, `and ${count(all.length - SHOWN_MAX, 'peer')} more: reg peers lists all`) : null;
        fill(list, h('p', { class: 'quiet' }, `${count(all.length, 'peer')}. A lane carries pieces beside the swarm's encrypted stream; both are verified alike.`), table('Connected peers', COLUMNS, all.slice(0, SHOWN_MAX).map(row)), more);
    };
    const later = () => (isDrawn ? (timer ??= setTimeout(draw, UPDATE_MS)) : draw());
    const remembered = async () => {
        fill(known, h('p', { class: 'quiet' }, 'Reading the list…'));
        try {
            const all = await get('/v1/peers/known');
            fill(known, all.length
                ? table('Remembered peers', [['Peer', ''], ['Address', ''], ['Last connected', 'mid'], ['Failures', 'num'], ['', '']], all.slice(0, SHOWN_MAX).map((it) => [
                      it.peer ? id(it.peer, 16) : 'by address alone',
                      [it.addresses[0] ?? '', it.added ? [' ', badge('added by you', 'good')] : null],
                      ago(it.success),
                      number(it.failures),
                      asks('Forget', () => remove(it.peer ?? it.addresses[0]), 'plain danger'),
                  ]))
                : empty('No peer is remembered yet.'));
        } catch (error) {
            fill(known, failure(error));
        }
    };
    opener.addEventListener('toggle', () => opener.open && remembered());
    fill(root, head('Peers', h('div', { class: 'buttons' }, asks('Add a peer', addPeer, 'main'), asks('Share this node', () => share(null)))), list, opener);
    draw();
    on('peers', later);
    on('changed', () => opener.open && remembered());
    on('transfers', later);
    return () => clearTimeout(timer);
}

