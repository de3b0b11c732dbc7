/** The page's elements, by their ids. */

export const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

export const button = (id: string): HTMLButtonElement => element<HTMLButtonElement>(id);
