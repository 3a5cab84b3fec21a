/** Keeps a client of @stomp/stompjs logged in with what getToken fetches; ended is called for what a token takes away. */
export function stayLoggedIn(client, getToken, ended) {
  const { onConnect } = client;
  client.beforeConnect = async () => {
    client.connectHeaders = { Authorization: `Bearer ${await getToken()}` };
  };
  client.onConnect = (frame) => {
    onConnect(frame);
    client.subscribe("/airyd/status", async (message) => {
      const { type, id, destination } = JSON.parse(message.body);
      if (type === "token") client.publish({ destination: "/airyd/token", body: await getToken() });
      if (type === "subscription") ended(id, destination);
    }, { id: "login" });
  };
}
