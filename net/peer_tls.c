// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS 1.3 with an external pre-shared key, on OpenSSL. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>

#include "net/peer_private.h"

static const unsigned char identity[] = "twinstep-pair-1";
static const unsigned char tls13_aes128gcmsha256[] = { 0x13, 0x01 };

/*
 * The key as a TLS 1.3 session that was never negotiated (SSL_CTX_set_psk_use_session_callback(3)).
 */
static SSL_SESSION *psk_session(SSL *ssl)
{
	const struct peer_key *key = SSL_get_app_data(ssl);
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, tls13_aes128gcmsha256);
	SSL_SESSION *s = SSL_SESSION_new();

	if (s && cipher && SSL_SESSION_set1_master_key(s, key->bytes, PEER_KEY_LEN) &&
	    SSL_SESSION_set_cipher(s, cipher) &&
	    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
		return s;
	SSL_SESSION_free(s);
	return NULL;
}

static int psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *idlen,
		   SSL_SESSION **sess)
{
	*id = identity;
	*idlen = sizeof(identity) - 1;
	*sess = psk_session(ssl);
	return *sess != NULL;
}

static int psk_find(SSL *ssl, const unsigned char *id, size_t idlen, SSL_SESSION **sess)
{
	*sess = NULL;
	if (idlen == sizeof(identity) - 1 && !CRYPTO_memcmp(id, identity, idlen))
		*sess = psk_session(ssl);
	return 1;
}

static SSL_CTX *tls_context(bool server)
{
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	if (!ctx)
		return NULL;
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
	    !SSL_CTX_set_num_tickets(ctx, 0)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	if (server)
		SSL_CTX_set_psk_find_session_callback(ctx, psk_find);
	else
		SSL_CTX_set_psk_use_session_callback(ctx, psk_use);
	return ctx;
}

/* It ended, without a word of why: that is no proof that it holds another key. */
static bool tls_was_cut(int why, unsigned long code)
{
	return why == SSL_ERROR_SYSCALL || why == SSL_ERROR_ZERO_RETURN ||
	       (ERR_GET_LIB(code) == ERR_LIB_SSL &&
		ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

static int tls_handshake_failed(const struct peer_stream *s, int why, struct err *err)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (tls_was_cut(why, code))
		return err_set(err, ECONNRESET,
			       "%s ended the connection in the TLS handshake: the link was cut, or "
			       "it refuses us and says itself why",
			       s->base.name);
	return err_set(err, EACCES, "%s is refused: it does not hold our key (TLS handshake: %s)",
		       s->base.name, reason ? reason : "no reason is given");
}

/*
 * OpenSSL keeps a copy for resumption, which there is none of: traffic keys are made of it and the
 * ephemeral secret.
 */
static void forget_key(SSL *ssl)
{
	static const unsigned char nothing[PEER_KEY_LEN];
	SSL_SESSION *s = SSL_get0_session(ssl);

	if (s)
		SSL_SESSION_set1_master_key(s, nothing, sizeof(nothing));
}

int peer_tls_step(struct peer_stream *s, short *events, struct err *err)
{
	int ret = SSL_do_handshake(s->ssl), why = SSL_get_error(s->ssl, ret);

	*events = why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (ret != 1)
		return tls_handshake_failed(s, why, err);
	/*
	 * Without the key a server would need a certificate, which it has not: this cannot be
	 * anything else.
	 */
	if (!SSL_session_reused(s->ssl))
		return err_set(err, EACCES, "%s is refused: it does not hold our key",
			       s->base.name);
	forget_key(s->ssl);
	return 0;
}

bool peer_tls_is_silent(const struct peer_stream *s)
{
	return BIO_number_read(SSL_get_rbio(s->ssl)) == 0;
}

int peer_tls_too_slow(const struct peer_stream *s, int timeout_ms, struct err *err)
{
	return err_set(err, ETIMEDOUT, "%s did not finish the TLS handshake within %d ms",
		       s->base.name, timeout_ms);
}

int peer_tls_begin(struct peer_stream *s, const struct peer_key *key, bool server, struct err *err)
{
	s->ctx = tls_context(server);
	s->ssl = s->ctx ? SSL_new(s->ctx) : NULL;
	if (!s->ssl || !SSL_set_fd(s->ssl, s->fd))
		return err_set(err, ENOMEM, "cannot set up TLS");
	SSL_set_app_data(s->ssl, (void *)(uintptr_t)key);
	if (server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	return 0;
}

void peer_tls_end(struct peer_stream *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->ctx);
	s->ssl = NULL;
	s->ctx = NULL;
}

bool peer_tls_export(struct peer_stream *s, const char *label, uint8_t *bytes, size_t n)
{
	return s->ssl &&
	       SSL_export_keying_material(s->ssl, bytes, n, label, strlen(label), NULL, 0, 0) == 1;
}
