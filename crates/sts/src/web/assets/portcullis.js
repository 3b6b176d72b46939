// Two things that a page cannot do without a script: ask an authenticator, and post a form by itself.
"use strict";
(() => {
  const bytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const made = async (options) => {
    const credential = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        user: { ...options.user, id: bytes(options.user.id) },
        excludeCredentials: options.excludeCredentials.map((known) => ({ ...known, id: bytes(known.id) })),
      },
    });
    return {
      client_data: text(credential.response.clientDataJSON),
      authenticator_data: text(credential.response.getAuthenticatorData()),
    };
  };

  const signed = async (options) => {
    const credential = await navigator.credentials.get({
      publicKey: { ...options, challenge: bytes(options.challenge) },
    });
    const { clientDataJSON, authenticatorData, signature, userHandle } = credential.response;
    return {
      credential: text(credential.rawId),
      client_data: text(clientDataJSON),
      authenticator_data: text(authenticatorData),
      signature: text(signature),
      user_handle: userHandle ? text(userHandle) : "",
    };
  };

  // In the words of a person: what the browser says is for programmers.
  const said = (error) => {
    switch (error.name) {
      case "NotAllowedError":
        return "Nothing was confirmed. Try again, or choose another way.";
      case "InvalidStateError":
        return "This device has a passkey for you already.";
      case "SecurityError":
        return "Passkeys do not work at this address. Ask whoever runs this installation.";
      default:
        return "The passkey could not be used (" + error.name + "). Try again, or choose another way.";
    }
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const button = form.querySelector("button");
    const message = form.querySelector("[role=alert]");
    if (!window.PublicKeyCredential) {
      message.textContent = "This browser has no passkeys. Choose another way.";
      message.hidden = false;
      continue;
    }
    button.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      message.hidden = true;
      try {
        const options = JSON.parse(form.dataset.options);
        const fields = form.dataset.passkey === "create" ? await made(options) : await signed(options);
        for (const [name, value] of Object.entries(fields)) {
          form.elements.namedItem(name).value = value;
        }
        form.submit();
      } catch (error) {
        message.textContent = said(error);
        message.hidden = false;
        button.disabled = false;
      }
    });
  }

  for (const form of document.querySelectorAll("form[data-post]")) {
    form.submit();
  }
})();
