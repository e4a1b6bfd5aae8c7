// Dialogs that several views open: pull a model, follow a publisher, share, name a publisher.

import { get, long, post } from './api.js';
import { h } from './dom.js';
import { facts, field } from './parts.js';
import { count, number, quoted, size } from './words.js';

const DAY = 86400;

/** What a pull would cost, once the node has looked. */
function cost(planned) {
    const disks = planned.disks.map((it) => {
        const free = it.free === null ? '' : ` of ${size(it.free)} that are free`;
        return [`Disk ${it.path}`, `${size(it.needed)}${free}`];
    });
    return facts([
        ['Files', `${number(planned.files)}${planned.files < planned.model_files ? ` of ${number(planned.model_files)}` : ''}`],
        ['To fetch', size(planned.bytes_to_fetch)],
        ['Here already', planned.bytes_local ? size(planned.bytes_local) : null],
        ...disks,
    ]);
}

/** Asks to pull a model, and says what it will cost on the disk. */
export function pull(reference) {
    const shown = h('div', { role: 'status' }, h('p', { class: 'quiet' }, 'Asking peers what a pull would cost…'));
    let planned = null;
    const look = async () => {
        try {
            const note = (it) => it.event === 'stage' && shown.replaceChildren(h('p', { class: 'quiet' }, `The node is ${it.stage}…`));
            planned = await long('/v1/plan', { reference }, note);
            shown.replaceChildren(cost(planned), ...planned.notes.map((it) => h('p', { class: 'quiet' }, it)));
        } catch (error) {
            const hint = error.hint ? h('p', { class: 'hint' }, error.hint) : '';
            shown.replaceChildren(h('p', { class: 'quiet' }, `The cost is not known: ${error.message}`), hint);
        }
        shown.dispatchEvent(new Event('input', { bubbles: true }));
    };
    look();
    return {
        heading: `Pull ${reference}`,
        words: [shown, h('p', { class: 'quiet' }, 'The files go into the cache of this node, verified, and are shared. The pull goes on when this tab is closed.')],
        yes: 'Pull',
        make: () => ({
            command: `reg pull ${quoted(reference)}`,
            run: async () => {
                await post('/v1/page/pull', { reference });
                location.hash = '#/transfers';
                return `Pulling ${reference}`;
            },
        }),
    };
}

/** Asks to follow models of a publisher. */
export function follow(publisher, models) {
    const form = [
        field('Publisher', h('input', { name: 'publisher', value: publisher ?? '', required: true, autocomplete: 'off', spellcheck: 'false' }), 'An id, or a name that you gave'),
        field('Models', h('input', { name: 'models', value: models ?? '*', required: true, autocomplete: 'off' }), 'A pattern: * stands for any letters'),
        field('Versions to keep', h('input', { name: 'keep', type: 'number', min: 1, max: 256, value: '2' })),
        field('Days to wait', h('input', { name: 'days', type: 'number', min: 0, max: 365, value: '1' }), 'What its publisher withdraws within that time is not taken'),
    ];
    return {
        heading: 'Follow a publisher',
        words: h('p', null, 'The node pulls each new version by itself, once it has known it for some time.'),
        form,
        yes: 'Follow',
        make: ({ publisher: of, models: which, keep, days }) => {
            if (!of || !which) {
                return { why: 'Name a publisher and its models.' };
            }
            const [kept, delay] = [Number(keep) || 1, Math.round(Number(days) * DAY)];
            const what = which === '*' ? of : `${of}/${which}`;
            return {
                command: `reg follow ${quoted(what)}${which === '*' ? '' : ' --models'} --keep ${kept} --delay ${Number(days)}d`,
                run: async () => {
                    const settings = { keep: kept, delay };
                    const report = await post('/v1/follow', { followed: { publisher: of, models: which }, settings });
                    return `Following ${what}: ${count(report.versions.length, 'version')} known`;
                },
            };
        },
    };
}

/** Makes a ticket of a model, or of this node. */
export function share(reference) {
    const ticket = h('textarea', { rows: 5, readonly: true, 'aria-label': 'Ticket' });
    ticket.hidden = true;
    return {
        heading: reference ? `Share ${reference}` : 'Share this node',
        words: h('p', null, 'A ticket names the model and addresses where peers hold it. It holds no key, and proves nothing: what it leads to is verified as always.'),
        form: [h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'lan' }), 'Name private addresses too, for your own network'), ticket],
        yes: 'Make the ticket',
        make: ({ lan }) => ({
            command: `reg share${reference ? ` ${quoted(reference)}` : ''}${lan ? ' --lan' : ''}`,
            run: async () => {
                const made = await get('/v1/share', { reference, lan: Boolean(lan) });
                ticket.value = made.ticket;
                ticket.hidden = false;
                ticket.focus();
                ticket.select();
                throw Object.assign(new Error('Copy it: the other side runs `reg pull` with it'), { hint: made.notes.join(' ') || null });
            },
        }),
    };
}

/** Gives a publisher a name. */
export function name(publisher) {
    return {
        heading: 'Name a publisher',
        words: h('p', null, 'The name is yours alone: ', h('code', null, 'name/model'), ' means this publisher here, and rules may ask for publishers that you have named.'),
        form: [
            field('Name', h('input', { name: 'petname', required: true, autocomplete: 'off', spellcheck: 'false' }), 'Small letters, digits and hyphens'),
            field('Publisher id', h('input', { name: 'publisher', value: publisher ?? '', required: true, autocomplete: 'off', spellcheck: 'false' }), 'Ask the publisher for it another way than by this network'),
        ],
        yes: 'Give the name',
        make: ({ petname, publisher: of }) => {
            if (!petname || !of) {
                return { why: 'Give a name and an id.' };
            }
            return {
                command: `reg trust add ${quoted(petname)} ${quoted(of)}`,
                run: async () => {
                    await post('/v1/trust', { petname, publisher: of });
                    return `${petname} is named`;
                },
            };
        },
    };
}
