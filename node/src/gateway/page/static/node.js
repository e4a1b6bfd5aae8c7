// This node: how it is reached, its limits, its disk.

import { live, post, rights } from './api.js';
import { act, needsRights } from './change.js';
import { fill, h } from './dom.js';
import { badge, facts, failure, head, id, meter, section, terminal, waits } from './parts.js';
import { count, number, size, span } from './words.js';

const REACHED = {
    public: ['directly, from any network', 'good'],
    relayed: ['through a relay, and directly where the NATs permit', 'warn'],
    unknown: ['not known: no peer from outside has tried', ''],
};

function troubles(status) {
    const found = [
        status.paused ? 'Everything is paused: pulls, and what peers fetch here.' : null,
        status.index_trouble ? `The index is kept in memory until the disk takes it: ${status.index_trouble}` : null,
        status.catalogue_trouble ? `The catalogue: ${status.catalogue_trouble}. The node tries again.` : null,
        status.outdated_peers ? `${count(status.outdated_peers, 'peer')} must be upgraded before they can be connected.` : null,
    ].filter(Boolean);
    return found.length ? h('ul', { class: 'failure' }, found.map((it) => h('li', null, it))) : null;
}

function reachability(status) {
    const [text, kind] = REACHED[status.reachability] ?? ['offline: this node has no network', 'warn'];
    const meets = status.rendezvous;
    return [
        h('p', null, badge(status.reachability ?? 'offline', kind), ' ', text, '.'),
        status.reachability === 'public' ? null : h('p', { class: 'quiet' }, 'Pulls work without it. To serve strangers, forward a port and name it with ', h('code', null, '--external'), '.'),
        facts([
            ['Peer id', id(status.peer_id, 24)],
            ['Listens on', h('ul', { class: 'lines' }, status.listen.map((it) => h('li', null, h('code', null, it))))],
            ['Peers', `${number(status.peers)} connected, ${number(status.known_peers)} remembered`],
            ['Keys in the DHT', `${number(status.dht_keys.provided)} provided${status.dht_keys.left_to_others ? `, ${number(status.dht_keys.left_to_others)} left to others` : ''}`],
            ['Strangers', meets?.is_on ? `announced under ${number(meets.announced)} keys; ${number(meets.met)} of ${number(meets.dialled)} that were dialled have answered` : 'not looked for'],
        ]),
    ];
}

function disk(status) {
    const max = status.cache_max_bytes;
    return [
        max ? meter(status.bytes, max, 'Share of the cache that is used') : null,
        facts([
            ['Cache', `${size(status.bytes)}${max ? ` of ${size(max)}` : ', without a limit'}${status.cache_size_is_default ? ' (a share of the disk; set cache.max_size)' : ''}`],
            ['Models', number(status.models)],
            ['Files', number(status.blobs)],
            ['On its way', size(status.partial_bytes)],
        ]),
    ];
}

function traffic(status) {
    const first = status.bytes_served_first;
    return facts([
        ['Fetched', size(status.bytes_fetched)],
        ['Served', `${size(status.bytes_served)}${first ? `, of which ${size(first)} for the first time` : ''}`],
        ['Audits', `${size(status.audited.last_hour)} in the last hour, ${size(status.audited.since_start)} since the start`],
    ]);
}

function limits(settings) {
    return facts([
        ['Sends at most', settings.limit_up || 'no limit'],
        ['Fetches at most', settings.limit_down || 'no limit'],
        ['In private networks', settings.limit_local ? 'the limits hold too' : 'no limit'],
        ['Lanes', settings.lanes ? 'on' : 'off'],
        ['Finds nodes nearby', settings.mdns ? 'yes, by mDNS' : 'no'],
        ['DHT', settings.dht],
        ['Gossip', settings.gossip ? 'on' : 'off'],
        ['Private swarm', settings.swarm ? `yes, key ${settings.swarm.slice(0, 15)}…` : 'no'],
        ['Web seeds', settings.web_seeds.length ? settings.web_seeds.join(', ') : null],
        ['Bootstrap', settings.bootstrap.length ? h('ul', { class: 'lines' }, settings.bootstrap.map((it) => h('li', null, h('code', null, it)))) : null],
    ]);
}

const VERDICTS = { ok: ['ok', 'good'], warning: ['warning', 'warn'], fault: ['fault', 'bad'] };

function findings(found) {
    const rows = found.map((it) => [
        it.subject.replace('_', ' '),
        [
            badge(...VERDICTS[it.verdict]), ' ', it.what,
            it.remedy ? h('p', { class: 'quiet' }, it.remedy) : null,
            it.command ? terminal(it.command) : null,
        ],
    ]);
    return facts(rows);
}

/** Examines the node when it is asked to. */
function doctor() {
    const result = h('div', { 'aria-live': 'polite' });
    const ask = async () => {
        fill(result, waits('Examining the node: it asks the DNS and the servers of its configuration…'));
        try {
            fill(result, findings((await post('/v1/doctor', {})).findings));
        } catch (error) {
            fill(result, failure(error));
        }
    };
    return [
        h('p', null, h('button', { type: 'button', on: { click: ask } }, 'Examine the node')),
        result,
        h('p', { class: 'quiet' }, 'The same in a terminal: ', terminal('reg doctor')),
    ];
}

/** The last lines of the log, which go on while the view is shown. */
function log() {
    const shown = h('pre', { class: 'log', tabindex: '0', 'aria-label': 'The last lines of the log' });
    const lines = [];
    let last = 0;
    const read = async () => {
        if (!shown.isConnected) {
            clearInterval(timer);
            return;
        }
        try {
            const news = await post('/v1/logs', { after: last });
            if (news.length) {
                last = news.at(-1).id;
                lines.push(...news.map((it) => `${new Date(it.time * 1000).toISOString().slice(0, 19).replace('T', ' ')} ${it.level.padEnd(5)} ${it.text}`));
                lines.splice(0, Math.max(0, lines.length - 200));
                shown.textContent = lines.join('\n');
                shown.scrollTop = shown.scrollHeight;
            }
        } catch {
            // The node is gone for now: the page says so elsewhere.
        }
    };
    const timer = setInterval(read, 3000);
    setTimeout(read);
    return shown;
}

export function show(root, { on }) {
    const body = h('div', null, waits('Reading the figures of the node…'));
    const limited = h('div', null, waits('Reading what it was started with…'));
    const top = h('div', { class: 'buttons' });
    const draw = () => {
        const { status } = live;
        if (!status) {
            return;
        }
        fill(top, status.paused
            ? act({ text: 'Resume everything', path: '/v1/resume', body: {}, command: 'reg resume', done: 'Everything goes on', key: 'all' })
            : act({ text: 'Pause everything', path: '/v1/pause', body: {}, command: 'reg pause', done: 'Everything is paused', key: 'all', kind: 'plain' }));
        fill(
            body,
            troubles(status),
            section('Reachability', reachability(status)),
            section('Disk', disk(status)),
            section('Traffic since the start', traffic(status)),
        );
    };
    const uptime = live.status?.uptime_seconds;
    fill(root, head('Node', top), body, section('Limits and network', limited),
        section('Doctor', rights.owner ? doctor() : needsRights()),
        section('Log', rights.owner ? log() : needsRights()),
        section('Version', facts([['reg', rights.version], ['Up', uptime ? span(uptime) : null]]), h('p', { class: 'quiet' }, 'The same in a terminal: ', terminal('reg status'))));
    draw();
    if (rights.owner) {
        post('/v1/settings', {}).then((it) => fill(limited, h('div', { class: 'pane' }, limits(it)), h('p', { class: 'quiet' }, 'They are set in the configuration: ', terminal('reg config path'))), (error) => fill(limited, failure(error)));
    } else {
        fill(limited, needsRights());
    }
    on('status', draw);
}
