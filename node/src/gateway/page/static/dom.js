// Builds elements. Every text goes in as a text node, so that no text of a model or a peer becomes markup.

const PROPERTIES = new Set(['checked', 'disabled', 'selected', 'value', 'hidden', 'open', 'indeterminate', 'required']);

/** Returns an element. `on` holds listeners; other properties are attributes; a null or false one is left out. */
export function h(name, properties, ...children) {
    const element = document.createElement(name);
    set(element, properties);
    add(element, children);
    return element;
}

/** Returns an element of a drawing. */
export function svg(name, attributes, ...children) {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes ?? {})) {
        element.setAttribute(key, value);
    }
    add(element, children);
    return element;
}

export function set(element, properties) {
    for (const [key, value] of Object.entries(properties ?? {})) {
        if (key === 'on') {
            for (const [event, listener] of Object.entries(value)) {
                element.addEventListener(event, listener);
            }
        } else if (PROPERTIES.has(key)) {
            if (value !== undefined && value !== null) {
                element[key] = value;
            }
        } else if (value !== null && value !== undefined && value !== false) {
            element.setAttribute(key, value === true ? '' : value);
        }
    }
}

export function add(element, children) {
    for (const child of children.flat(Infinity)) {
        if (child !== null && child !== undefined && child !== false) {
            element.append(child);
        }
    }
    return element;
}

/** Replaces what an element holds, and keeps the focus on the same control where it is named by `data-key`. */
export function fill(element, ...children) {
    const focused = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    element.replaceChildren();
    add(element, children);
    if (focused !== undefined) {
        const again = [...element.querySelectorAll('[data-key]')].find((it) => it.dataset.key === focused);
        again?.focus({ preventScroll: true });
    }
    return element;
}
