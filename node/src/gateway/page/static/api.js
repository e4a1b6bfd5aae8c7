// Speaks to the node that this page comes from, and to no other host.

const KEY = 'reg-token';
/** The node is told to be slow after this time without an answer. */
const AGAIN_MS = [500, 1000, 2000, 5000, 10000];

/** Why the node has refused or failed, in its own words. */
export class Refused extends Error {
    constructor(status, document) {
        super(document?.message ?? `the node answers with ${status}`);
        this.status = status;
        this.kind = document?.kind ?? 'internal';
        this.causes = document?.causes ?? [];
        this.hint = document?.hint ?? null;
    }
}

const token = () => sessionStorage.getItem(KEY);

function headers(more) {
    const shown = token();
    return { ...(shown ? { authorization: `Bearer ${shown}` } : {}), ...more };
}

async function refused(response) {
    let document = null;
    try {
        document = await response.json();
    } catch {
        // It is no JSON: the status says enough.
    }
    return new Refused(response.status, document);
}

async function send(path, options) {
    const response = await fetch(path, { cache: 'no-store', redirect: 'error', ...options });
    if (!response.ok) {
        throw await refused(response);
    }
    return response;
}

/** Asks for a document. Values of `query` that are empty are left out. */
export async function get(path, query, signal) {
    const asked = new URLSearchParams();
    for (const [key, value] of Object.entries(query ?? {})) {
        if (value !== null && value !== undefined && value !== '' && value !== false) {
            asked.set(key, value);
        }
    }
    const text = asked.size ? `${path}?${asked}` : path;
    return (await send(text, { headers: headers(), signal })).json();
}

/** Changes something. */
export async function post(path, body, signal) {
    const sent = { method: 'POST', headers: headers({ 'content-type': 'application/json' }), signal };
    return (await send(path, { ...sent, body: JSON.stringify(body) })).json();
}

/** Yields the documents of a streamed answer, one for each line. */
async function* lines(response, signal) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done || signal?.aborted) {
                return;
            }
            const parts = (rest + value).split('\n');
            rest = parts.pop();
            for (const part of parts) {
                if (part) {
                    yield JSON.parse(part);
                }
            }
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}

/** Does something long. `tell` gets its progress; the result is returned. */
export async function long(path, body, tell, signal) {
    const sent = { method: 'POST', headers: headers({ 'content-type': 'application/json' }), signal };
    const response = await send(path, { ...sent, body: JSON.stringify(body) });
    for await (const event of lines(response, signal)) {
        if (event.event === 'done') {
            return event.result;
        }
        if (event.event === 'failed') {
            throw new Refused(response.status, event.error);
        }
        tell?.(event);
    }
    throw new Refused(0, { message: 'the node has ended before its answer was complete' });
}

/** What this tab may do. It is read once, and again when the token comes or goes. */
export const rights = { owner: false, version: '' };

async function learn() {
    Object.assign(rights, await get('/v1/page/rights'));
    if (token() && !rights.owner) {
        // The daemon was started again, or the code was shown twice.
        sessionStorage.removeItem(KEY);
    }
}

/** Exchanges the code in the address, if there is one, for a token. Returns why that failed, or null. */
export async function enter() {
    const found = /^#code=([0-9a-f]+)$/.exec(location.hash);
    let failure = null;
    if (found) {
        // The code is worth nothing from now on, and stands in no history.
        history.replaceState(null, '', '#/models');
        sessionStorage.removeItem(KEY);
        try {
            sessionStorage.setItem(KEY, (await post('/v1/page/token', { code: found[1] })).token);
        } catch (error) {
            failure = error;
        }
    }
    await learn();
    return failure;
}

/** Gives the token back. */
export async function lock() {
    try {
        await post('/v1/page/lock', { token: token() ?? '' });
    } finally {
        sessionStorage.removeItem(KEY);
        await learn();
    }
}

/** The state of the node that changes by itself. */
export const live = { online: null, transfers: [], pulls: [], peers: new Map(), status: null, models: 0 };

const listeners = new Set();

/** Calls `listener` with the kind of each change, until the function that is returned is called. */
export function listen(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
}

function tell(kind) {
    for (const listener of [...listeners]) {
        listener(kind);
    }
}

/** Tells the views that this tab has changed something. */
export const changed = () => tell('changed');

function takePeer(report) {
    const at = performance.now();
    const before = live.peers.get(report.peer);
    const seconds = before ? (at - before.at) / 1000 : 0;
    const between = (key) => (seconds > 0.5 ? Math.max(0, (report[key] - before[key]) / seconds) : 0);
    live.peers.set(report.peer, { ...report, at, down: between('bytes_fetched'), up: between('bytes_served') });
}

/** Returns the rate of a peer: what has not changed for a while is zero. */
export const peerRate = (report, key) => (performance.now() - report.at < 8000 ? report[key] : 0);

function take({ event, data }) {
    switch (event) {
        case 'transfers':
            live.transfers = data;
            break;
        case 'pulls':
            live.pulls = data;
            break;
        case 'peers':
            if (data.all) {
                const now = new Set(data.changed.map((it) => it.peer));
                [...live.peers.keys()].filter((it) => !now.has(it)).forEach((it) => live.peers.delete(it));
            }
            data.changed.forEach(takePeer);
            data.gone.forEach((it) => live.peers.delete(it));
            break;
        case 'status': {
            const before = live.status;
            live.status = { ...data, uptime_seconds: before?.uptime_seconds ?? 0 };
            if (before && ['models', 'blobs', 'bytes'].some((it) => before[it] !== data[it])) {
                tell('store');
            }
            break;
        }
        default:
            return;
    }
    tell(event);
}

async function readAll() {
    const [transfers, pulls, peers, status] = await Promise.all(
        ['/v1/transfers', '/v1/page/pulls', '/v1/peers', '/v1/status'].map((path) => get(path)),
    );
    live.peers = new Map();
    peers.forEach(takePeer);
    Object.assign(live, { transfers, pulls, status });
    for (const kind of ['transfers', 'pulls', 'peers', 'status']) {
        tell(kind);
    }
}

function setOnline(online) {
    if (live.online !== online) {
        live.online = online;
        tell('online');
    }
}

const pause = (ms, signal) =>
    new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener('abort', () => {
            clearTimeout(timer);
            resolve();
        });
    });

/** Follows the changes of the node while this tab is seen. A hidden tab costs the node nothing. */
export function follow() {
    let seen = null;
    let running = null;
    const run = async (signal) => {
        let failures = 0;
        while (!signal.aborted) {
            try {
                const path = seen === null ? '/v1/page/events' : `/v1/page/events?after=${seen}`;
                const response = await send(path, { headers: headers(), signal });
                for await (const event of lines(response, signal)) {
                    failures = 0;
                    seen = event.id;
                    if (event.event === 'hello') {
                        if (!event.data.resumed) {
                            await readAll();
                        }
                        setOnline(true);
                    } else {
                        take(event);
                    }
                }
            } catch {
                // The node has ended or is busy: it is asked again.
            }
            if (signal.aborted) {
                return;
            }
            setOnline(false);
            await pause(AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)], signal);
            failures += 1;
        }
    };
    const look = () => {
        if (document.hidden) {
            running?.abort();
            running = null;
        } else if (!running) {
            running = new AbortController();
            run(running.signal);
        }
    };
    document.addEventListener('visibilitychange', look);
    look();
}
