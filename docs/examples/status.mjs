/** Calls show with "connecting", "catching up" or "live", and reload as follow() does, whose result client is. */
export function heed(client, show, reload) {
  const { onConnect } = client;
  show("connecting");
  client.onWebSocketClose = () => show("connecting"); // it connects again by itself
  client.onConnect = (frame) => {
    onConnect(frame); // subscribes, and resumes
    show("catching up");
    client.subscribe("/airyd/status", (message) => {
      const { type, state, destinations } = JSON.parse(message.body);
      if (type === "source") show(state === "up" ? "live" : "catching up"); // at once, and with every change
      if (type === "gap") destinations.forEach(reload); // what comes after this is whole again
    }, { id: "status" });
  };
}
