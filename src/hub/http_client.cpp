#include "hub/http_client.h"

#include <openssl/ssl.h>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/url/src.hpp>

#include "base/error.h"
#include "base/number.h"

namespace fovea::hub {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace urls = boost::urls;
using asio::use_awaitable;
using Tcp = asio::ip::tcp;

constexpr auto kConnectTimeout = std::chrono::seconds(15);
constexpr auto kSilenceTimeout = std::chrono::seconds(30);
constexpr size_t kHeaderBytesMax = size_t{64} << 10;
constexpr size_t kPieceBytes = size_t{256} << 10;

urls::url parsed(const std::string& text) {
  const auto parsed = urls::parse_uri(text);
  const bool web = parsed && (parsed->scheme() == "https" || parsed->scheme() == "http");
  if (!web || parsed->host().empty()) {
    fail(ErrorKind::kInvalidArgument, "[hub] expected an http or https address but got '{}'", text);
  }
  return urls::url(*parsed);
}

std::string port_of(const urls::url& url) {
  if (url.has_port()) return std::string(url.port());
  return url.scheme() == "https" ? "443" : "80";
}

std::string lower_case(beast::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = beast::detail::ascii_tolower(c);
  return lower;
}

HttpResponse response_of(const http::response<http::buffer_body>& message) {
  HttpResponse response;
  response.status = message.result_int();
  for (const auto& field : message) {
    response.headers[lower_case(field.name_string())] = std::string(field.value());
  }
  return response;
}

// Reads the body a piece at a time; the deadline begins anew with each.
template <class Stream>
asio::awaitable<HttpResponse> read_response(Stream& stream, const BodySink& sink) {
  auto& socket = beast::get_lowest_layer(stream);
  beast::flat_buffer buffer(kHeaderBytesMax + kPieceBytes);
  http::response_parser<http::buffer_body> parser;
  parser.header_limit(kHeaderBytesMax);
  parser.body_limit(boost::none);
  co_await http::async_read_header(stream, buffer, parser, use_awaitable);
  const HttpResponse response = response_of(parser.get());
  std::vector<std::byte> piece(kPieceBytes);
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    body.data = piece.data();
    body.size = piece.size();
    socket.expires_after(kSilenceTimeout);
    boost::system::error_code error;
    co_await http::async_read(stream, buffer, parser, asio::redirect_error(use_awaitable, error));
    // What came before a connection ended is worth keeping.
    const auto got = std::span(piece).first(piece.size() - body.size);
    if (!got.empty() && !sink(response, got)) break;
    if (error && error != http::error::need_buffer) throw boost::system::system_error(error);
  }
  co_return response;
}

template <class Stream>
asio::awaitable<HttpResponse> ask(Stream& stream, const urls::url& url, const HttpRequest& request,
                                  const BodySink& sink) {
  const std::string target = url.encoded_target().empty() ? "/" : std::string(url.encoded_target());
  http::request<http::empty_body> message(http::verb::get, target, 11);
  message.set(http::field::host, std::string(url.encoded_host_and_port()));
  message.set(http::field::user_agent, "fovea/" FOVEA_VERSION);
  message.set(http::field::connection, "close");
  for (const auto& [name, value] : request.headers) message.set(name, value);
  beast::get_lowest_layer(stream).expires_after(kSilenceTimeout);
  co_await http::async_write(stream, message, use_awaitable);
  co_return co_await read_response(stream, sink);
}

asio::ssl::context tls_context() {
  asio::ssl::context context(asio::ssl::context::tls_client);
  ::SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  context.set_default_verify_paths();
  context.set_verify_mode(asio::ssl::verify_peer);
  return context;
}

asio::awaitable<HttpResponse> ask_over_tls(beast::tcp_stream socket, const urls::url& url,
                                           const HttpRequest& request, const BodySink& sink) {
  auto context = tls_context();
  beast::ssl_stream<beast::tcp_stream> stream(std::move(socket), context);
  const std::string host = url.host_address();
  stream.set_verify_callback(asio::ssl::host_name_verification(host));
  if (url.host_type() == urls::host_type::name) {  // addresses are no server names
    std::string name = host;
    ::SSL_ctrl(stream.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               name.data());
  }
  co_await stream.async_handshake(asio::ssl::stream_base::client, use_awaitable);
  co_return co_await ask(stream, url, request, sink);
}

asio::awaitable<HttpResponse> connect_and_ask(const urls::url& url, const HttpRequest& request,
                                              const BodySink& sink) {
  const auto executor = co_await asio::this_coro::executor;
  Tcp::resolver resolver(executor);
  const auto addresses =
      co_await resolver.async_resolve(url.host_address(), port_of(url), use_awaitable);
  beast::tcp_stream socket(executor);
  socket.expires_after(kConnectTimeout);
  co_await socket.async_connect(addresses, use_awaitable);
  if (url.scheme() == "http") co_return co_await ask(socket, url, request, sink);
  co_return co_await ask_over_tls(std::move(socket), url, request, sink);
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

int64_t HttpResponse::number(const std::string& name) const {
  return read_number<int64_t>(header(name), 0, std::numeric_limits<int64_t>::max()).value_or(-1);
}

HttpResponse http_get(const HttpRequest& request, const BodySink& sink) {
  const urls::url url = parsed(request.url);
  asio::io_context context(1);
  HttpResponse response;
  std::exception_ptr failure;
  asio::co_spawn(context, connect_and_ask(url, request, sink),
                 [&](std::exception_ptr thrown, HttpResponse answer) {
                   failure = thrown;
                   response = std::move(answer);
                 });
  context.run();
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    throw PassingError(ErrorKind::kIo, fmt::format("[hub] expected an answer from '{}' but got: {}",
                                                   std::string(url.encoded_host_and_port()),
                                                   error.code().message()));
  }
  return response;
}

std::string resolve_url(const std::string& url, const std::string& location) {
  urls::url target;
  const auto reference = urls::parse_uri_reference(location);
  if (!reference || !urls::resolve(parsed(url), *reference, target)) {
    fail(ErrorKind::kInvalidData, "[hub] expected an address to go on to but got '{}'", location);
  }
  return std::string(target.buffer());
}

std::string origin_of(const std::string& url) {
  const urls::url parts = parsed(url);
  return fmt::format("{}://{}:{}", std::string(parts.scheme()), std::string(parts.encoded_host()),
                     port_of(parts));
}

}  // namespace fovea::hub
