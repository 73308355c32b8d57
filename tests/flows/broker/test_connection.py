"""The connection without a broker: settings by the environment, names of topics, and retries."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from flows.broker.connection import ClientErrors, Connection, RetryPolicy, servers, topic_name
from schemas.errors import BrokerError, ConfigurationError

QUICK = RetryPolicy(timeout_s=0.4, pause_s=0.01)


def failing(*codes):
    """A request that fails with each of these errors and then answers; keeps the time limits that it was given."""
    left = list(codes)

    def request(timeout_s):
        request.limits.append(timeout_s)
        if left:
            raise KafkaException(KafkaError(left.pop(0)))
        return "answer"

    request.limits = []
    return request


class TestSettings:
    def test_the_environment_names_the_broker(self, monkeypatch):
        monkeypatch.delenv("CITYAIR_KAFKA", raising=False)
        assert servers() == "localhost:9092"
        monkeypatch.setenv("CITYAIR_KAFKA", " kafka-1:9092,kafka-2:9092 ")
        assert Connection().settings()["bootstrap.servers"] == "kafka-1:9092,kafka-2:9092"
        assert Connection().settings()["security.protocol"] == "PLAINTEXT"

    def test_a_user_is_known_by_password_and_over_tls(self, monkeypatch, tmp_path):
        word = tmp_path / "word"
        word.write_text("secret\n")
        monkeypatch.setenv("CITYAIR_KAFKA_USER", "flows")
        monkeypatch.setenv("CITYAIR_KAFKA_PASSWORD_FILE", str(word))
        settings = Connection().settings()
        assert settings["security.protocol"] == "SASL_SSL"
        assert (settings["sasl.username"], settings["sasl.password"]) == ("flows", "secret")

    @pytest.mark.parametrize(
        ("variables", "match"),
        [
            ({"USER": "flows"}, "SASL_SSL needs CITYAIR_KAFKA_USER, and CITYAIR_KAFKA_PASSWORD"),
            ({"SECURITY": "TLS"}, "'TLS' is none of PLAINTEXT, SSL"),
            ({"USER": "flows", "SECURITY": "plaintext"}, "PLAINTEXT asks for no user"),
            ({"CA": "/nowhere/ca.crt"}, "CITYAIR_KAFKA_CA = /nowhere/ca.crt: cannot be read"),
        ],
    )
    def test_variables_that_do_not_fit_together_are_named(self, monkeypatch, variables, match):
        for name, value in variables.items():
            monkeypatch.setenv(f"CITYAIR_KAFKA_{name}", value)
        with pytest.raises(ConfigurationError, match=match):
            Connection().settings()

    def test_consumers_hear_of_ends_and_commit_nothing_by_themselves(self):
        settings = Connection().consumer_settings("group", auto_offset_reset="error")
        assert settings["group.id"] == "group"
        assert (settings["enable.partition.eof"], settings["enable.auto.commit"]) == (True, False)
        assert settings["auto.offset.reset"] == "error"

    def test_producers_write_once_and_put_keys_where_java_does(self):
        settings = Connection().producer_settings(linger_ms=0)
        assert (settings["enable.idempotence"], settings["partitioner"]) == (True, "murmur2_random")
        assert settings["linger.ms"] == 0


class TestTopicName:
    def test_cities_share_a_broker_by_a_prefix(self, monkeypatch):
        monkeypatch.setenv("CITYAIR_KAFKA_PREFIX", "gimhae.")
        assert topic_name("env.air.reading.v1") == "gimhae.env.air.reading.v1"

    @pytest.mark.parametrize("bad", ["a b", "a/b", "ü", "x" * 101])
    def test_a_prefix_that_cannot_be_is_refused(self, monkeypatch, bad):
        monkeypatch.setenv("CITYAIR_KAFKA_PREFIX", bad)
        with pytest.raises(ConfigurationError, match="cannot begin a topic's name"):
            topic_name("env.air.reading.v1")


class TestRetry:
    def test_a_request_is_repeated_until_the_broker_answers(self):
        request = failing(KafkaError._TRANSPORT, KafkaError.NOT_LEADER_FOR_PARTITION)
        assert Connection(RetryPolicy(timeout_s=60, request_timeout_s=2, pause_s=0)).retry(request) == "answer"
        assert request.limits == [2, 2, 2]

    def test_an_unreachable_broker_is_named_with_the_clients_last_error(self):
        connection = Connection(QUICK)
        connection.errors(KafkaError(KafkaError._SSL))
        request = failing(*[KafkaError._TIMED_OUT] * 100)
        with pytest.raises(
            BrokerError, match=r"no broker answered at localhost:9092 within 0 s \(_SSL: .*\); set CITY"
        ):
            connection.retry(request)
        assert 1 < len(request.limits) < 100
        assert set(request.limits) == {QUICK.timeout_s}, "no request takes longer than all of them may"

    @pytest.mark.parametrize(
        ("code", "match"),
        [
            (KafkaError.TOPIC_AUTHORIZATION_FAILED, "the user lacks a right: cityair topics acls"),
            (KafkaError.UNKNOWN_TOPIC_OR_PART, "broker localhost:9092: UNKNOWN_TOPIC_OR_PART"),
        ],
    )
    def test_a_refusal_is_not_repeated(self, code, match):
        request = failing(code)
        with pytest.raises(BrokerError, match=match):
            Connection(QUICK).retry(request)
        assert len(request.limits) == 1


def test_that_all_brokers_are_down_does_not_hide_why():
    errors = ClientErrors()
    errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert errors.last.startswith("_ALL_BROKERS_DOWN")
    errors(KafkaError(KafkaError._AUTHENTICATION))
    errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert errors.last.startswith("_AUTHENTICATION")
